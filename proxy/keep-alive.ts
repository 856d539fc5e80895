/**
 * For every connection with another host: one that was idle for this long is asked whether it is still there, ten times a second
 * apart, then it is gone. Without it a peer that lost its power or its network holds a connection until the idle timeout.
 * @source libuv uv_tcp_keepalive: TCP_KEEPIDLE is the delay, TCP_KEEPINTVL 1 s, TCP_KEEPCNT 10
 */
export const keepAlive = { keepAlive: true, keepAliveInitialDelay: 30_000 } as const;
