import { type Endpoint, showEndpoint } from './socket.ts'

/** How long an address that did not answer is tried after the others of its host. */
const REMEMBERED_MILLIS = 30_000
/** More than the addresses of any host; a resolver that gives new ones for ever must not fill the memory. */
const MOST_REMEMBERED = 1000

export interface ReachabilityOptions<T> {
  /** The name under which one is remembered, such as its address and port. */
  readonly key: (place: T) => string
  /** Default 30 s. */
  readonly rememberedMillis?: number
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number
}

/**
 * Which addresses (or servers) did not answer lately, so that each new session does not wait for them anew. It is a
 * matter of order: every address is tried before an opening fails.
 */
export class Reachability<T = Endpoint> {
  /** By key, the time until which it is tried last. */
  readonly #silent = new Map<string, number>()
  readonly #key: (place: T) => string
  readonly #rememberedMillis: number
  readonly #now: () => number

  constructor({ key, rememberedMillis = REMEMBERED_MILLIS, now = () => performance.now() }: ReachabilityOptions<T>) {
    this.#key = key
    this.#rememberedMillis = rememberedMillis
    this.#now = now
  }

  static ofAddresses(now?: () => number): Reachability {
    return new Reachability({ key: showEndpoint, now })
  }

  /**
   * The endpoints in the order to try them: those that did not answer last. One whose time is up comes in its own
   * place again, for this caller alone: the next ones wait for what this one finds.
   */
  sort(endpoints: readonly T[]): T[] {
    const now = this.#now()
    const silent = endpoints.filter((endpoint) => {
      const until = this.#silent.get(this.#key(endpoint))
      if (until === undefined) return false
      if (until > now) return true
      this.failed(endpoint)
      return false
    })
    return [...endpoints.filter((endpoint) => !silent.includes(endpoint)), ...silent]
  }

  failed(endpoint: T): void {
    const key = this.#key(endpoint)
    this.#silent.delete(key)
    this.#silent.set(key, this.#now() + this.#rememberedMillis)
    const [oldest] = this.#silent.keys()
    if (this.#silent.size > MOST_REMEMBERED && oldest !== undefined) this.#silent.delete(oldest)
  }

  answered(endpoint: T): void {
    this.#silent.delete(this.#key(endpoint))
  }
}
