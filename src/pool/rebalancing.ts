/** Brings sessions back to the servers that come first, slowly: the option `pool_rebalance`. */

import type { Place } from '../hosts/place.ts'
import { unobserved } from '../tracing.ts'
import { sayGoodbye } from './goodbye.ts'
import type { ListeningConfig } from './listening.ts'
import { countByPlace } from './place-stats.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

export interface RebalancingConfig<Raw extends object> extends ListeningConfig<Raw> {
  readonly sessions: Sessions<Raw>
  /** It is time to open what is missing. */
  readonly pump: () => void
}

/** A session, and the places where one would be better, the best first. */
interface Move<Raw extends object> {
  readonly session: Session<Raw>
  readonly better: readonly Place[]
}

export class Rebalancing<Raw extends object> {
  readonly #config: RebalancingConfig<Raw>
  readonly #timer: NodeJS.Timeout
  #isBusy = false

  constructor(config: RebalancingConfig<Raw>) {
    this.#config = config
    this.#timer = unobserved(() => setInterval(() => void this.#step(), config.policy.rebalanceMillis).unref())
  }

  end(): void {
    clearInterval(this.#timer)
  }

  /** Moves one session at most. Never rejects. */
  async #step(): Promise<void> {
    if (this.#isBusy) return
    const move = this.#next()
    if (move === undefined) return
    this.#isBusy = true
    const place = await this.#reach(move.better)
    this.#isBusy = false
    const { sessions, pump } = this.#config
    const { session } = move
    // Its role is known now, and the session may have been closed meanwhile.
    if (place === undefined || session.closed || !this.#isBetter(place, session)) return
    if (session.busy) session.condemned ??= 'rebalanced'
    else sessions.close(session, 'rebalanced')
    pump()
  }

  /** The session to move: of those at the place that comes last, an idle one where there is one. */
  #next(): Move<Raw> | undefined {
    const { driver, sessions } = this.#config
    const rank = (place: Place | undefined): number => (place === undefined ? 0 : (driver.rankOf?.(place) ?? 0))
    const moves = sessions.all
      .filter(({ condemned }) => condemned === undefined)
      .map((session): Move<Raw> => {
        const better = (driver.places ?? []).filter((place) => this.#isBetter(place, session))
        return { session, better: better.toSorted((a, b) => rank(a) - rank(b)) }
      })
      .filter(({ better }) => better.length > 0)
    const rankOf = ({ session }: Move<Raw>): number => rank(driver.placeOf?.(session.raw))
    const [first] = moves.toSorted((a, b) => rankOf(b) - rankOf(a) || Number(a.session.busy) - Number(b.session.busy))
    return first
  }

  /** Whether a session would be better there: by rank, or where places are taken by chance, by numbers. */
  #isBetter(place: Place, { raw }: Session<Raw>): boolean {
    const { driver, sessions } = this.#config
    const own = driver.placeOf?.(raw)
    if (own === undefined || own === place || driver.rankOf === undefined) return false
    const [there, here] = [driver.rankOf(place), driver.rankOf(own)]
    if (there !== here) return there < here
    const counts = countByPlace(driver, sessions.all)
    return (counts.get(place) ?? 0) + 1 < (counts.get(own) ?? 0)
  }

  /** Opens a session at the first of the places that gives one, and closes it again. */
  async #reach(places: readonly Place[]): Promise<Place | undefined> {
    const { driver, open } = this.#config
    for (const place of places) {
      try {
        const session = await open(place)
        session.condemned = 'rebalanced'
        void sayGoodbye(session, driver)
        return place
      } catch {
        // The place tells of the failure, as place:down and in stats().
      }
    }
    return undefined
  }
}
