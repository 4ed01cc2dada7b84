import { isIP } from 'node:net'
import { onAbort } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'
import { type Connected, connectEndpoint } from './connect.ts'
import type { Tunnel } from './proxy/tunnel.ts'
import type { Reachability } from './reachability.ts'
import { type Endpoint, showEndpoint } from './socket.ts'

/** How long an attempt runs before the next one begins (RFC 8305, 5: Connection Attempt Delay). */
const ATTEMPT_DELAY_MILLIS = 250

const CALLED_OFF = new Error('another address has answered, or the opening has ended')

export interface DialerOptions {
  /** Tries all addresses at once. Default: each attempt has 250 ms to itself, or less where there is less time. */
  readonly atOnce?: boolean | undefined
  /** When the whole opening ends, on the clock of performance.now(). Default: it does not. */
  readonly deadline?: number | undefined
  /** The tunnel through a proxy. Where there is one, nothing is opened directly. */
  readonly tunnel?: Tunnel | undefined
}

export interface Dialled extends Connected {
  readonly endpoint: Endpoint
}

type DialOptions = Parameters<typeof connectEndpoint>[2]

interface Failure {
  readonly endpoint: Endpoint
  readonly error: unknown
}

/**
 * The addresses of one host. The first connection goes to the first of them that accepts, by attempts that overlap
 * (RFC 8305, "Happy Eyeballs"); further ones go to the same address, until it is given up.
 */
export class Dialer {
  /** Is called when the first connection to an address stands. */
  onConnect: (() => void) | undefined
  readonly deadline: number | undefined
  readonly #reachability: Reachability
  readonly #atOnce: boolean
  readonly #tunnel: Tunnel | undefined
  readonly #failures: Failure[] = []
  #left: readonly Endpoint[]
  #current: Endpoint | undefined

  /** @param endpoints at least one, in the resolver's order */
  constructor(endpoints: readonly Endpoint[], reachability: Reachability, options: DialerOptions = {}) {
    this.#reachability = reachability
    this.deadline = options.deadline
    this.#atOnce = options.atOnce ?? false
    this.#tunnel = options.tunnel
    this.#left = reachability.sort(alternate(endpoints))
  }

  /** The address that is connected to, or else will be tried first. */
  get endpoint(): Endpoint {
    return this.#current ?? (this.#left[0] as Endpoint)
  }

  /** How many addresses are left to try, the current one included. */
  get left(): number {
    return this.#left.length
  }

  /** How long each attempt has to itself before the next one begins, in milliseconds. */
  get delayMillis(): number {
    if (this.#atOnce) return 0
    const left = (this.deadline ?? Number.POSITIVE_INFINITY) - performance.now()
    return Math.max(1, Math.min(ATTEMPT_DELAY_MILLIS, left / (this.#left.length + 1)))
  }

  /**
   * Opens a socket; it carries a listener for `error` for ever, as one of connectSocket does.
   *
   * @throws PoolsmithError of connectEndpoint, of the last address where there are several; the signal's reason
   */
  async connect(options: DialOptions): Promise<Dialled> {
    options.signal.throwIfAborted()
    if (this.#current !== undefined) {
      const endpoint = this.#current
      return { ...(await connectEndpoint(endpoint, this.#tunnel, options)), endpoint }
    }
    const won = await this.#race(options)
    this.#current = won.endpoint
    this.#reachability.answered(won.endpoint)
    this.onConnect?.()
    return won
  }

  /**
   * Passes over the current address, for one that accepts connections and does not answer. If no address has
   * accepted yet, all have used their time.
   *
   * @returns false when no other one is left
   */
  giveUp(error: unknown): boolean {
    for (const endpoint of this.#current === undefined ? this.#left : [this.#current]) this.#fail(endpoint, error)
    this.#current = undefined
    return this.#left.length > 0
  }

  #fail(endpoint: Endpoint, error: unknown): void {
    this.#failures.push({ endpoint, error })
    this.#left = this.#left.filter((other) => other !== endpoint)
    this.#reachability.failed(endpoint)
  }

  #race(options: DialOptions): Promise<Dialled> {
    const { delayMillis } = this
    const { promise, resolve, reject } = Promise.withResolvers<Dialled>()
    const calledOff = new AbortController()
    const waiting = [...this.#left]
    const begun = new Map<Endpoint, number>()
    let timer: NodeJS.Timeout | undefined
    let over = false
    const end = (settle: () => void): void => {
      over = true
      clearTimeout(timer)
      registration[Symbol.dispose]()
      settle()
      // A reason that is given costs no stack trace.
      calledOff.abort(CALLED_OFF)
    }
    const win = (dialled: Dialled): void => {
      if (over) {
        dialled.socket.destroy()
        return
      }
      begun.delete(dialled.endpoint)
      // The others have used their time; they may answer late, or never.
      for (const [endpoint, at] of begun) {
        if (performance.now() - at >= ATTEMPT_DELAY_MILLIS) this.#reachability.failed(endpoint)
      }
      end(() => resolve(dialled))
    }
    const lose = (endpoint: Endpoint, error: unknown): void => {
      if (over) return
      begun.delete(endpoint)
      this.#fail(endpoint, error)
      if (waiting.length > 0) begin()
      else if (begun.size === 0) end(() => reject(this.#joined()))
    }
    const begin = (): void => {
      clearTimeout(timer)
      const endpoint = waiting.shift()
      if (endpoint === undefined) return
      begun.set(endpoint, performance.now())
      connectEndpoint(endpoint, this.#tunnel, { ...options, signal: calledOff.signal }).then(
        (connected) => win({ ...connected, endpoint }),
        (error: unknown) => lose(endpoint, error),
      )
      if (waiting.length === 0) return
      if (delayMillis === 0) begin()
      else timer = setTimeout(begin, delayMillis)
    }
    const registration = onAbort(options.signal, () => end(() => reject(options.signal.reason)))
    begin()
    return promise
  }

  /** The last address' error; where there were several, with the outcome of each. */
  #joined(): unknown {
    const { error } = this.#failures.at(-1) as Failure
    if (!(error instanceof PoolsmithError) || this.#failures.length === 1) return error
    const addresses = this.#failures.map((failure) => ({
      peer: showEndpoint(failure.endpoint),
      code: failure.error instanceof PoolsmithError ? failure.error.code : undefined,
    }))
    return error.with({ details: { addresses } })
  }
}

/** Address families in turn, beginning with the resolver's first (RFC 8305, 4). */
function alternate(endpoints: readonly Endpoint[]): Endpoint[] {
  const version = (endpoint: Endpoint): number => (endpoint.kind === 'tcp' ? isIP(endpoint.address) : 0)
  const [first] = endpoints
  if (first === undefined) return []
  const own = endpoints.filter((endpoint) => version(endpoint) === version(first))
  const other = endpoints.filter((endpoint) => version(endpoint) !== version(first))
  return own
    .flatMap((endpoint, index) => {
      const next = other[index]
      return next === undefined ? [endpoint] : [endpoint, next]
    })
    .concat(other.slice(own.length))
}
