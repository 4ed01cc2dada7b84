import { type Phase, PoolsmithError } from '../errors.ts'

/** The attempt that a time limit has ended. */
export interface TimedOut {
  readonly host: string
  readonly phase: Phase
  readonly seconds: number
  /** `connect_timeout`, in seconds. */
  readonly limitSeconds: number
  /** The proxy on the way, without a login. */
  readonly proxy: string | undefined
  /** Where a port must be asked for first (SQL Server Browser). */
  readonly isInstance?: boolean
  /** A pooler may stand for the server, as in front of PostgreSQL. */
  readonly mayBePooler?: boolean
}

/** The error of an attempt that one peer has held up: the name server, the proxy or the server. */
export function connectTimeout(attempt: TimedOut): PoolsmithError {
  const { host, phase, limitSeconds } = attempt
  const seconds = Math.round(attempt.seconds * 10) / 10
  const why = attempt.seconds === limitSeconds ? 'connect_timeout' : "one address's share of the time"
  return new PoolsmithError(`${silent(attempt)} did not answer within ${seconds} s (${why}), in the phase ${phase}.`, {
    code: 'CONNECT_TIMEOUT',
    phase,
    transient: true,
    hint: hintFor(attempt),
    details: { host, ...(phase === 'proxy' ? { proxy: attempt.proxy } : {}), limitMillis: seconds * 1000 },
  })
}

function silent({ host, phase, proxy }: TimedOut): string {
  switch (phase) {
    case 'dns':
      return `The name server that was asked for ${host}`
    case 'proxy':
      return `The proxy ${proxy ?? ''} on the way to ${host}`
    default:
      return host
  }
}

function hintFor({ phase, isInstance, mayBePooler }: TimedOut): string {
  switch (phase) {
    case 'dns':
      return 'Check the host name and the name servers of this machine.'
    case 'connect':
      return isInstance === true
        ? 'A firewall may drop the packets silently, those to the SQL Server Browser (UDP 1434) too; give the port instead of the instance.'
        : 'A firewall may drop the packets silently; check security groups and the address.'
    case 'proxy':
      return 'Check that the proxy is reachable, answers, and can reach the server.'
    case 'gss':
      return 'Check that the KDC and the server answer.'
    default:
      return `The server accepts connections but does not answer; it may be overloaded or frozen${mayBePooler === true ? ', or a pooler full or paused' : ''}.`
  }
}
