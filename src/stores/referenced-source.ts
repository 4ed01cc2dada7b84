import type { Credential, CredentialSource } from '../credentials/credential.ts'
import { refreshingSource } from '../credentials/refreshing-source.ts'
import { PoolsmithError } from '../errors.ts'
import type { Emit } from '../events.ts'
import { settled } from '../strategies/settled.ts'
import type { References, SecretValues } from './references.ts'

export interface ReferencedSourceOptions {
  readonly references: References
  /** Makes the source of the strategy with these values. It is called again when one of them has changed. */
  readonly make: (values: SecretValues, emit: Emit) => CredentialSource | Promise<CredentialSource>
  readonly emit: Emit
  /** Called once at the end. */
  readonly close: () => void
}

/**
 * The source of a strategy some of whose options are in a store. The options are read before the first credential is
 * obtained, again after their time to live, and at once when a server refuses the credential; the source of the
 * strategy is made anew when they have changed.
 */
export function referencedSource(options: ReferencedSourceOptions): CredentialSource {
  return new ReferencedSource(options)
}

class ReferencedSource implements CredentialSource {
  readonly #options: ReferencedSourceOptions
  readonly #outer: CredentialSource
  #values: SecretValues | undefined
  #inner: CredentialSource | undefined
  /** The source before `#inner`: a session may just be opened with its credential. */
  #before: CredentialSource | undefined
  #goodUntil = Number.POSITIVE_INFINITY
  #isRefused = false
  #closed = false
  /** Failures of the strategy's own source, which has retried and reported them. */
  readonly #reported = new WeakSet<PoolsmithError>()

  constructor(options: ReferencedSourceOptions) {
    this.#options = options
    this.#outer = refreshingSource({
      fetch: settled((signal) => this.#fetch(signal)),
      emit: (name, facts) => {
        if ('error' in facts && facts.error instanceof PoolsmithError && this.#reported.has(facts.error)) return
        options.emit(name, facts)
      },
      isRetried: (error) => !this.#reported.has(error),
      recheckMillis: options.references.recheckMillis,
    })
  }

  current(): Credential | undefined {
    const credential = this.#outer.current()
    if (credential === undefined || Date.now() < this.#goodUntil) return credential
    // The store has been down for the whole grace period, or the pool was idle: the next caller waits for the store.
    this.#outer.reject(credential)
    return undefined
  }

  get(signal?: AbortSignal): Promise<Credential> {
    this.current()
    return this.#outer.get(signal)
  }

  reject(credential: Credential): boolean {
    this.#isRefused = true
    if (credential.kind === 'password' || credential.kind === 'ntlm')
      this.#options.references.refuse(credential.password)
    this.#inner?.reject(credential)
    return this.#outer.reject(credential)
  }

  onChange(listener: (credential: Credential) => void): () => void {
    return this.#outer.onChange(listener)
  }

  get failure(): PoolsmithError | undefined {
    return this.#outer.failure
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#outer.close()
    this.#inner?.close()
    this.#before?.close()
    this.#options.close()
  }

  async release(): Promise<void> {
    await Promise.all([this.#inner?.release?.(), this.#before?.release?.()])
  }

  async #fetch(signal: AbortSignal): Promise<Credential> {
    const isFresh = this.#isRefused
    this.#isRefused = false
    try {
      const { values, goodUntil } = await this.#options.references.read({ signal, isFresh })
      this.#goodUntil = goodUntil
      const inner = await this.#innerFor(values)
      return inner.current() ?? (await this.#obtain(inner, signal))
    } catch (error) {
      // The next attempt still follows the refusal.
      this.#isRefused ||= isFresh
      throw error
    }
  }

  async #obtain(inner: CredentialSource, signal: AbortSignal): Promise<Credential> {
    try {
      return await inner.get(signal)
    } catch (error) {
      if (error instanceof PoolsmithError) this.#reported.add(error)
      throw error
    }
  }

  async #innerFor(values: SecretValues): Promise<CredentialSource> {
    if (this.#inner !== undefined && sameValues(values, this.#values)) return this.#inner
    const made = await this.#options.make(values, (name, facts) => {
      // Its credential becomes that of this source, which tells of it.
      if (name !== 'credential:refreshed') this.#options.emit(name, facts)
    })
    if (this.#closed) made.close()
    this.#before?.close()
    this.#before = this.#inner
    this.#inner = made
    this.#values = values
    return made
  }
}

function sameValues(one: SecretValues, other: SecretValues | undefined): boolean {
  return [...one].every(([name, value]) => value.equals(other?.get(name)))
}
