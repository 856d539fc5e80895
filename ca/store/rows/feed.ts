/** What the feed's readers have to hold to be up to date. */
export interface FeedPosition {
  readonly feedEpoch: string;
  readonly bundleSequence: number;
  /** 0 when there is none, as for announcements. */
  readonly revocationSequence: number;
  readonly announcementSequence: number;
  /** Of the newest change of any document. */
  readonly documentSequence: number;
  /** `reportedAtMs` of the newest tap that is kept; unlike the others it falls when that is over. */
  readonly tapSequence: number;
}

/** Said once to all who are connected, e.g. to renew because an authority was tainted. */
export interface AnnouncementRow {
  readonly sequence: number;
  /** JSON (`ca/contract/watch.ts`). */
  readonly body: string;
  readonly expiresAtMs: number;
}
