import { type Endpoint, showEndpoint } from './socket.ts'

/** How long an address that did not answer is tried after the others of its host. */
const REMEMBERED_MILLIS = 30_000
/** More than the addresses of any host; a resolver that gives new ones for ever must not fill the memory. */
const MOST_REMEMBERED = 1000

/**
 * Which addresses did not answer lately, so that each new session does not wait for them anew. It is a matter of order:
 * every address is tried before an opening fails.
 */
export class Reachability {
  /** By address and port, the time until which it is tried last. */
  readonly #silent = new Map<string, number>()
  readonly #now: () => number

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /**
   * The endpoints in the order to try them: those that did not answer last. One whose time is up comes in its own
   * place again, for this caller alone: the next ones wait for what this one finds.
   */
  sort(endpoints: readonly Endpoint[]): Endpoint[] {
    const now = this.#now()
    const silent = endpoints.filter((endpoint) => {
      const until = this.#silent.get(showEndpoint(endpoint))
      if (until === undefined) return false
      if (until > now) return true
      this.failed(endpoint)
      return false
    })
    return [...endpoints.filter((endpoint) => !silent.includes(endpoint)), ...silent]
  }

  failed(endpoint: Endpoint): void {
    const key = showEndpoint(endpoint)
    this.#silent.delete(key)
    this.#silent.set(key, this.#now() + REMEMBERED_MILLIS)
    const [oldest] = this.#silent.keys()
    if (this.#silent.size > MOST_REMEMBERED && oldest !== undefined) this.#silent.delete(oldest)
  }

  answered(endpoint: Endpoint): void {
    this.#silent.delete(showEndpoint(endpoint))
  }
}
