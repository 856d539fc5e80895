/** Who follows the feed: a caller that proved itself, or strangers by where they come from. */
export interface Follower {
  readonly proven: boolean;
  /** A caller's actor; of strangers what they share, an address. */
  readonly name: string;
}

export interface Places {
  /**
   * Gives a place, maybe one that another has to give up.
   * @param onLost  called at most once, when the place is given to another
   * @returns what gives it back; undefined when there is none for this follower
   */
  take(follower: Follower, onLost: () => void): (() => void) | undefined;
}

/**
 * The places of one replica, so shared that nobody keeps the others from learning what is revoked. Strangers have a part of them, each
 * address a part of that, and give theirs up when somebody with an identity needs one. Of identities the one with the most places gives
 * one up to any that has two less: whoever opens more streams than others loses them first.
 */
export function watcherPlaces(maxWatchers: number): Places {
  const maxStrangers = Math.max(1, Math.floor(maxWatchers * strangerShare));
  const maxOfAddress = Math.max(1, Math.floor(maxStrangers * addressShare));
  const proven = holders();
  const strangers = holders();

  function makeRoom(name: string): boolean {
    if (proven.size() + strangers.size() < maxWatchers) return true;
    const stranger = strangers.most();
    if (stranger !== undefined) return strangers.displace(stranger);
    const most = proven.most();
    return most !== undefined && proven.of(most) > proven.of(name) + 1 && proven.displace(most);
  }

  return {
    take({ proven: isProven, name }, onLost) {
      if (isProven) return makeRoom(name) ? proven.add(name, onLost) : undefined;
      const hasRoom = proven.size() + strangers.size() < maxWatchers && strangers.size() < maxStrangers && strangers.of(name) < maxOfAddress;
      return hasRoom ? strangers.add(name, onLost) : undefined;
    },
  };
}

function holders() {
  const byName = new Map<string, Set<() => void>>();
  let size = 0;

  /** @returns whether it was there still */
  function remove(name: string, onLost: () => void): boolean {
    const held = byName.get(name);
    if (held?.delete(onLost) !== true) return false;
    if (held.size === 0) byName.delete(name);
    size -= 1;
    return true;
  }

  return {
    size: () => size,
    of: (name: string) => byName.get(name)?.size ?? 0,
    /** Asked only where all is taken; there are no more names than places. */
    most(): string | undefined {
      let most: string | undefined;
      for (const [name, held] of byName) if (most === undefined || held.size > byName.get(most)!.size) most = name;
      return most;
    },
    add(name: string, onLost: () => void): () => void {
      // One of its own for each place, though two may be told in the same way.
      const lose = (): void => onLost();
      const held = byName.get(name) ?? new Set();
      byName.set(name, held.add(lose));
      size += 1;
      return () => void remove(name, lose);
    },
    /** The oldest place of this name. */
    displace(name: string): boolean {
      const [oldest] = byName.get(name) ?? [];
      if (oldest === undefined || !remove(name, oldest)) return false;
      oldest();
      return true;
    },
  };
}

/** Of all places, that strangers may have: software that follows the feed without an identity is rare. */
const strangerShare = 1 / 4;
/** Of the strangers' places, that one address may have; behind a TLS terminator all of them have one. */
const addressShare = 1 / 4;
