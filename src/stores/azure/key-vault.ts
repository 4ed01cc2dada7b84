/** Azure Key Vault: https://learn.microsoft.com/rest/api/keyvault/secrets */

import type { SecretClient, SecretClientOptions } from '@azure/keyvault-secrets'
import type { CredentialSource } from '../../credentials/credential.ts'
import { type ErrorCode, PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import type { Secret } from '../../secret.ts'
import type { AzureOptions } from '../../strategies/azure/fields.ts'
import { pipeline, requestLimitMillis } from '../../strategies/azure/pipeline.ts'
import { storeTokenSource } from '../../strategies/azure/source.ts'
import type { StrategyContext } from '../../strategies/strategy.ts'
import { type SupervisedRequest, supervise } from '../../strategies/supervise.ts'
import { StoredSecret } from '../../vault/stored-secret.ts'
import type { SecretReader } from '../reader.ts'
import { conflict, textFollowing } from '../text-content.ts'
import { isNotFound, keyVaultFailure, withoutValue } from './failure.ts'
import { type KeyVaultSecret, keyVaultSecret } from './secret-path.ts'

export type KeyVaultContext = Pick<StrategyContext, 'environment' | 'agents' | 'listens' | 'emit'>

/** So many versions are looked at for the one before; the newest ones are not promised to come first. */
const MOST_VERSIONS = 500

export async function keyVaultReader(
  placeOf: SecretReader['placeOf'],
  options: AzureOptions,
  context: KeyVaultContext,
): Promise<SecretReader> {
  const sdk = await loadPackage('@azure/keyvault-secrets', () => import('@azure/keyvault-secrets'), 'azure-kv:')
  const tokens = new Tokens(options, context)
  const { retryOptions, additionalPolicies } = pipeline(options, context.agents)
  // The answer to the challenge is verified by the SDK: the token is for the domain of the vault alone.
  const settings: SecretClientOptions = {
    retryOptions,
    additionalPolicies,
    redirectOptions: { maxRetries: 0 },
    disableChallengeResourceVerification: false,
  }

  /** The client of one command: with it goes what the SDK keeps of a token. */
  async function send<Output>(
    secret: KeyVaultSecret,
    step: string,
    command: (client: SecretClient) => Promise<Output>,
    signal: AbortSignal,
    secrets: readonly Secret[] = [],
  ): Promise<Output> {
    const requests: SupervisedRequest[] = []
    try {
      const client = new sdk.SecretClient(secret.vault, tokens.credential(signal), settings)
      return await supervise({ signal, requestLimitMillis: requestLimitMillis(options), requests }, () =>
        command(client),
      )
    } catch (error) {
      signal.throwIfAborted()
      const failure = keyVaultFailure(error, {
        vault: new URL(secret.vault).host,
        step,
        requests,
        secrets: [...tokens.secrets, ...secrets],
      })
      if (failure.details.status === 401) tokens.reject()
      throw failure
    }
  }

  const find = (path: string): KeyVaultSecret => keyVaultSecret(path, options.cloud)

  async function get(secret: KeyVaultSecret, path: string, signal: AbortSignal) {
    const { name, version } = secret
    const command = (client: SecretClient) => client.getSecret(name, { version, abortSignal: signal })
    const { value, properties } = await send(secret, `read the secret ${path}`, command, signal)
    if (value === undefined) throw withoutValue(placeOf(path))
    return { properties, stored: new StoredSecret(value, properties.version, properties.createdOn?.getTime()) }
  }

  /** A secret that was deleted can be recovered for a time, and answers like one that never was. */
  async function isDeleted(secret: KeyVaultSecret, path: string, signal: AbortSignal): Promise<boolean> {
    const command = (client: SecretClient) => client.getDeletedSecret(secret.name, { abortSignal: signal })
    return await send(secret, `read the deleted secret ${path}`, command, signal).then(
      () => true,
      () => false,
    )
  }

  async function read(path: string, signal: AbortSignal): Promise<StoredSecret> {
    const secret = find(path)
    try {
      return (await get(secret, path, signal)).stored
    } catch (error) {
      if (!isNotFound(error) || !(await isDeleted(secret, path, signal))) throw error
      throw error.with({
        code: 'SECRET_DELETED',
        message: `${placeOf(path)} was deleted.`,
        hint: 'Recover it (az keyvault secret recover), or name another.',
      })
    }
  }

  /** The version that was made before the present one and is not disabled. */
  async function before(secret: KeyVaultSecret, path: string, current: StoredSecret, signal: AbortSignal) {
    const command = async (client: SecretClient): Promise<string | undefined> => {
      const found: { readonly version: string; readonly madeAt: number }[] = []
      let seen = 0
      for await (const each of client.listPropertiesOfSecretVersions(secret.name, { abortSignal: signal })) {
        const { version, enabled, createdOn } = each
        const madeAt = createdOn?.getTime() ?? 0
        const isBefore = version !== current.version && madeAt <= (current.writtenAt ?? 0)
        if (version !== undefined && enabled !== false && isBefore) found.push({ version, madeAt })
        if (++seen >= MOST_VERSIONS) break
      }
      return found.sort((one, other) => other.madeAt - one.madeAt)[0]?.version
    }
    const version = await send(secret, `list the versions of the secret ${path}`, command, signal)
    return version === undefined ? undefined : (await get({ ...secret, version }, path, signal)).stored
  }

  /** Key Vault compares no version: the secret is read and compared before it is written. */
  async function write(
    path: string,
    fields: ReadonlyMap<string, Secret>,
    replaces: StoredSecret | undefined,
    signal: AbortSignal,
  ): Promise<StoredSecret> {
    const secret = find(path)
    const present = await get({ ...secret, version: undefined }, path, signal).catch((error: unknown) => {
      if (isNotFound(error)) return undefined
      throw error
    })
    if (present?.stored.version !== replaces?.version) throw conflict(placeOf(path), replaces)
    const text = textFollowing(replaces, fields)
    const { contentType, tags } = present?.properties ?? {}
    const command = (client: SecretClient) =>
      client.setSecret(secret.name, text.reveal(), { contentType, tags, abortSignal: signal })
    const { properties } = await send(secret, `write the secret ${path}`, command, signal, [text])
    return new StoredSecret(text.reveal(), properties.version, properties.createdOn?.getTime())
  }

  return {
    distance: 'remote',
    placeOf,
    read,
    write: (path, fields, { replaces, signal }) => write(path, fields, replaces, signal),
    async others(path, current, signal) {
      const secret = find(path)
      if (secret.version !== undefined) return []
      try {
        const found = await before(secret, path, current, signal)
        return found === undefined ? [] : [found]
      } catch (error) {
        // The right to list versions is one more than the right to read.
        if (error instanceof PoolsmithError && NO_OTHERS.has(error.code)) return []
        throw error
      }
    },
    close: () => tokens.close(),
  }
}

const NO_OTHERS: ReadonlySet<ErrorCode> = new Set(['STORE_REFUSED', 'SECRET_MISSING', 'SECRET_DELETED'])

/** The tokens of the strategy `azure_ad`, for the resource that a vault's challenge names. */
class Tokens {
  readonly #options: AzureOptions
  readonly #context: KeyVaultContext
  /** Those that a vault may repeat in its words. */
  readonly secrets: (Secret | undefined)[]
  readonly #sources = new Map<string, Promise<CredentialSource>>()
  #closed = false

  constructor(options: AzureOptions, context: KeyVaultContext) {
    this.#options = options
    this.#context = context
    this.secrets = [options.client_secret, options.client_certificate_password, undefined]
  }

  /** A credential as the SDK takes it. */
  credential(signal: AbortSignal) {
    return {
      getToken: async (scopes: string | string[]) => {
        const source = await this.#sourceOf(String(scopes))
        const credential = await source.get(signal)
        if (credential.kind !== 'token') throw new Error('The strategy azure_ad gave no token.')
        this.secrets[2] = credential.token
        return { token: credential.token.reveal(), expiresOnTimestamp: credential.expiresAt ?? Date.now() }
      },
    }
  }

  /** A vault has refused the present tokens. */
  reject(): void {
    for (const source of this.#sources.values()) {
      void source.then((one) => {
        const credential = one.current()
        if (credential !== undefined) one.reject(credential)
      })
    }
  }

  close(): void {
    this.#closed = true
    for (const source of this.#sources.values()) source.then((one) => one.close()).catch(() => undefined)
  }

  #sourceOf(scope: string): Promise<CredentialSource> {
    const known = this.#sources.get(scope)
    if (known !== undefined) return known
    const made = storeTokenSource(this.#options, scope, this.#context)
    this.#sources.set(scope, made)
    made.then(
      (source) => this.#closed && source.close(),
      () => this.#sources.delete(scope),
    )
    return made
  }
}
