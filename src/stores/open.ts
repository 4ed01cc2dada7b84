import type { Connection } from '../connections/connection.ts'
import { isKubernetesName, RECORD, type Reference } from '../connections/reference.ts'
import type { Emit } from '../events.ts'
import type { AzureOptions } from '../strategies/azure/fields.ts'
import type { GoogleOptions } from '../strategies/google/fields.ts'
import type { StrategyContext } from '../strategies/strategy.ts'
import { vaultProofs } from '../strategies/vault-proofs.ts'
import type { AwsStoreOptions } from './aws/options.ts'
import { CachedReader } from './cache.ts'
import { EncryptedFile } from './encrypted/file.ts'
import { encryptedReader } from './encrypted/reader.ts'
import { type StoreFieldValues, secretsFileOf } from './fields.ts'
import { lazyReader } from './lazy.ts'
import { environmentReader, fileReader, kubernetesFolderReader } from './local.ts'
import type { SecretReader } from './reader.ts'
import type { Origin } from './store.ts'
import { vaultReader } from './vault.ts'

export interface StoreContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The database, whose region a store may share. */
  readonly connection: Pick<Connection, 'host' | 'port'>
  /** Where requests go through a proxy. */
  readonly agents?: StrategyContext['agents'] | undefined
  readonly listens?: StrategyContext['listens'] | undefined
  /** Loads the reader of connections by their ids, for `store:`. */
  readonly connections: () => Promise<SecretReader>
  /** The store that gave the connection itself. */
  readonly origin?: Origin | undefined
  /** More arguments of AWS' AssumeRole, under the names of AWS. */
  readonly assumeRole?: Readonly<Record<string, unknown>> | undefined
  /** Called when the stores are closed. */
  readonly onClose?: (() => void) | undefined
  readonly emit: Emit
}

type Kind = Reference['scheme'] | 'k8s-api'

function kindOf({ scheme, path }: Reference): Kind {
  return scheme === 'k8s' && isKubernetesName(path) ? 'k8s-api' : scheme
}

/** The stores that references of one connection name, each opened when it is first used. */
export class OpenStores {
  readonly #options: StoreFieldValues
  readonly #context: StoreContext
  readonly #opened = new Map<Kind, CachedReader>()

  constructor(options: StoreFieldValues, context: StoreContext) {
    this.#options = options
    this.#context = context
  }

  /** A store without a cache, for a program that writes. The caller closes it. */
  open(reference: Reference): SecretReader {
    return this.#open(kindOf(reference))
  }

  readonly readerOf = (reference: Reference): CachedReader => {
    const kind = kindOf(reference)
    const known = this.#opened.get(kind)
    if (known !== undefined) return known
    const { secrets_ttl: ttl, secrets_grace: grace } = this.#options
    const { emit } = this.#context
    const opened = new CachedReader(this.#open(kind), { ttlMillis: ttl * 1000, graceMillis: grace * 1000, emit })
    this.#opened.set(kind, opened)
    return opened
  }

  close(): void {
    for (const reader of this.#opened.values()) reader.close()
    this.#context.origin?.close()
    this.#context.onClose?.()
  }

  #open(kind: Kind): SecretReader {
    const { environment, agents, emit } = this.#context
    const agent = agents?.https
    switch (kind) {
      case 'file':
        return fileReader
      case 'env':
        return environmentReader(environment)
      case 'k8s':
        return kubernetesFolderReader
      case 'k8s-api': {
        const placeOf = (path: string): string => `The secret ${path} of Kubernetes`
        return lazyReader(placeOf, async () => {
          const { apiAddress, kubernetesApiReader } = await import('./kubernetes-api.ts')
          const address = apiAddress(environment)
          if (address === undefined) throw new Error('The options were not checked.')
          return kubernetesApiReader(address, this.#options, { environment, agent, emit })
        })
      }
      case 'encrypted': {
        const path = secretsFileOf(this.#options, environment)
        if (path === undefined) throw new Error('The options were not checked.')
        return encryptedReader(new EncryptedFile({ path, keyFile: this.#options.secrets_key_file, environment }))
      }
      case 'vault':
        return vaultReader(this.#options, {
          environment,
          agent,
          emit,
          proofs: vaultProofs(this.#options, this.#context),
        })
      case 'aws-sm': {
        const placeOf = (path: string): string => `The secret ${path} of AWS Secrets Manager`
        return lazyReader(placeOf, async () => {
          const { secretsManagerReader } = await import('./aws/secrets-manager.ts')
          return secretsManagerReader(placeOf, this.#options as AwsStoreOptions, this.#context)
        })
      }
      case 'azure-kv': {
        const placeOf = (path: string): string => `The secret ${path} of Azure Key Vault`
        return lazyReader(placeOf, async () => {
          const { keyVaultReader } = await import('./azure/key-vault.ts')
          return keyVaultReader(placeOf, this.#options as AzureOptions, this.#context)
        })
      }
      case 'gcp-sm': {
        const placeOf = (path: string): string => `The secret ${path} of Google Secret Manager`
        return lazyReader(placeOf, async () => {
          const { googleSecretReader } = await import('./google/secret-manager.ts')
          return googleSecretReader(placeOf, this.#options as GoogleOptions, this.#context)
        })
      }
      case 'aws-ssm': {
        const placeOf = (path: string): string => `The parameter ${path} of the AWS Parameter Store`
        return lazyReader(placeOf, async () => {
          const { parameterStoreReader } = await import('./aws/parameter-store.ts')
          return parameterStoreReader(placeOf, this.#options as AwsStoreOptions, this.#context)
        })
      }
      case 'store':
        return lazyReader((id) => `The connection ${id}`, this.#context.connections, { isWritable: false })
      case RECORD: {
        const { origin } = this.#context
        if (origin === undefined) throw new Error('The connection is not from a store.')
        const load = async () => (await import('./record.ts')).recordReader(origin)
        return lazyReader(() => origin.place, load, { isWritable: false })
      }
    }
  }
}
