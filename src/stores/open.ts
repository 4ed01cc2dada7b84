import type { RequestOptions } from 'node:http'
import type { Scheme } from '../connections/reference.ts'
import type { Emit } from '../events.ts'
import { CachedReader } from './cache.ts'
import type { StoreFieldValues } from './fields.ts'
import { environmentReader, fileReader, kubernetesFolderReader } from './local.ts'
import type { SecretReader } from './reader.ts'
import { vaultReader } from './vault.ts'

export interface StoreContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** For HTTPS, where requests go through a proxy. */
  readonly agent?: RequestOptions['agent'] | undefined
  readonly emit: Emit
}

/** The stores that references of one connection name, each opened when it is first used. */
export class OpenStores {
  readonly #options: StoreFieldValues
  readonly #context: StoreContext
  readonly #opened = new Map<Scheme, CachedReader>()

  constructor(options: StoreFieldValues, context: StoreContext) {
    this.#options = options
    this.#context = context
  }

  readonly readerOf = (scheme: Scheme): CachedReader => {
    const known = this.#opened.get(scheme)
    if (known !== undefined) return known
    const { secrets_ttl: ttl, secrets_grace: grace } = this.#options
    const { emit } = this.#context
    const opened = new CachedReader(this.#open(scheme), { ttlMillis: ttl * 1000, graceMillis: grace * 1000, emit })
    this.#opened.set(scheme, opened)
    return opened
  }

  close(): void {
    for (const reader of this.#opened.values()) reader.close()
  }

  #open(scheme: Scheme): SecretReader {
    const { environment, agent } = this.#context
    switch (scheme) {
      case 'file':
        return fileReader
      case 'env':
        return environmentReader(environment)
      case 'k8s':
        return kubernetesFolderReader
      case 'vault':
        return vaultReader(this.#options, { environment, agent })
    }
  }
}
