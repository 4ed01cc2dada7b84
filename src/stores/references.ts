import type { Reference, ReferencedSecret } from '../connections/reference.ts'
import type { Secret } from '../secret.ts'
import type { StoredSecret } from '../vault/stored-secret.ts'
import type { CachedReader, Reading } from './cache.ts'

/** The values of the options that were given by reference, under the names of the options. */
export type SecretValues = ReadonlyMap<string, Secret>

/** The references of one connection, which are read together. */
export class References {
  readonly #references: ReadonlyMap<string, Reference>
  readonly #readerOf: (reference: Reference) => CachedReader
  #present: Secret | undefined
  #refused: Secret[] = []

  /** @param options by their names */
  constructor(options: ReadonlyMap<string, ReferencedSecret>, readerOf: (reference: Reference) => CachedReader) {
    this.#references = new Map([...options].map(([name, { reference }]) => [name, reference]))
    this.#readerOf = readerOf
  }

  /** How often it is worth while to read again, in milliseconds. */
  get recheckMillis(): number {
    return Math.min(...[...this.#references.values()].map((each) => this.#readerOf(each).recheckMillis))
  }

  /** Notes that a server has refused this password, so that other versions of its secret are tried. */
  refuse(password: Secret): void {
    this.#refused.push(password)
  }

  /**
   * All values, each secret read once.
   *
   * Where the present password was refused, the one that a rotation has pending follows, then the other versions of its
   * secret, each once, and then the present one again: the server may have changed to it meanwhile. A pending one that was
   * taken stays until the rotation ends, or it is refused.
   *
   * @param isFresh reads past the cache, after a refusal
   */
  async read(options: {
    readonly signal: AbortSignal
    readonly isFresh: boolean
  }): Promise<{ readonly values: SecretValues; readonly goodUntil: number }> {
    const readings = new Map<string, Promise<Reading>>()
    for (const reference of this.#references.values()) {
      const place = placeOf(reference)
      if (readings.has(place)) continue
      readings.set(place, this.#readerOf(reference).read(reference.path, options))
    }
    await Promise.all(readings.values())
    const chosen = new Map<string, StoredSecret>()
    let goodUntil = Number.POSITIVE_INFINITY
    for (const reference of this.#references.values()) {
      const reading = (await readings.get(placeOf(reference))) as Reading
      chosen.set(placeOf(reference), reading.secret)
      goodUntil = Math.min(goodUntil, this.#readerOf(reference).goodUntil(reading))
    }
    await this.#replaceRefused(chosen, options)
    const values = [...this.#references].map(
      ([option, reference]) =>
        [option, this.#valueIn(reference, chosen.get(placeOf(reference)) as StoredSecret)] as const,
    )
    return { values: new Map(values), goodUntil }
  }

  async #replaceRefused(
    chosen: Map<string, StoredSecret>,
    { signal, isFresh }: { readonly signal: AbortSignal; readonly isFresh: boolean },
  ): Promise<void> {
    const reference = this.#references.get('password')
    const present = reference === undefined ? undefined : chosen.get(placeOf(reference))
    if (reference === undefined || present === undefined) return
    const passwordIn = (secret: StoredSecret): Secret => this.#valueIn(reference, secret)
    const password = passwordIn(present)
    // A refusal from before the store had this version says nothing of it, nor of the one before it.
    if (!password.equals(this.#present)) this.#refused = this.#refused.filter((each) => each.equals(password))
    this.#present = password
    const pending = present.pending()
    const isPendingGood = pending !== undefined && !this.#isRefused(passwordIn(pending))
    if (!isFresh && !isPendingGood) this.#refused = []
    if (!this.#isRefused(password)) return
    if (isPendingGood) {
      chosen.set(placeOf(reference), pending)
      return
    }
    const others = await this.#readerOf(reference).others(reference.path, present, signal)
    const next = others.find((secret) => !this.#isRefused(passwordIn(secret)))
    if (next !== undefined) chosen.set(placeOf(reference), next)
    // All were refused: the present one once more, and then each again.
    else this.#refused = []
  }

  #isRefused(password: Secret): boolean {
    return this.#refused.some((each) => each.equals(password))
  }

  #valueIn(reference: Reference, secret: StoredSecret): Secret {
    return secret.read(reference.field, this.#readerOf(reference).placeOf(reference.path))
  }
}

function placeOf({ scheme, path }: Reference): string {
  return `${scheme}:${path}`
}
