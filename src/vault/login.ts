/** The ways to a token of Vault: https://developer.hashicorp.com/vault/api-docs/auth */

import { join } from 'node:path'
import { homeFolder } from '../connections/fields.ts'
import { PoolsmithError } from '../errors.ts'
import { Secret } from '../secret.ts'
import type { VaultContext, VaultProofs } from './context.ts'
import { readSecretText } from './credential-file.ts'
import type { VaultOptions } from './fields.ts'
import { isRecord } from './json.ts'
import type { Answer, Query } from './query.ts'

/** The result of a login. */
export interface Login {
  readonly secret: Secret
  readonly renewable: boolean
  /** Milliseconds since the epoch; undefined for a token that does not end. */
  readonly expiresAt: number | undefined
  /** Its whole life when it was made, in milliseconds. */
  readonly lifeMillis: number | undefined
}

type Send = (query: Query, token: Secret | undefined) => Promise<Answer>

/** Kubernetes documentation, "Configure Service Accounts for Pods". */
const POD_TOKEN = '/var/run/secrets/kubernetes.io/serviceaccount/token'

export class LoginFlow {
  readonly #options: VaultOptions
  readonly #context: VaultContext
  readonly #signal: AbortSignal
  readonly #send: Send
  /** A wrapping token can be used once; the secret id that it gave serves further logins. */
  #unwrapped: { readonly wrapping: Secret; readonly secretId: Secret } | undefined

  constructor(options: VaultOptions, context: VaultContext, signal: AbortSignal, send: Send) {
    this.#options = options
    this.#context = context
    this.#signal = signal
    this.#send = send
  }

  /** Whether a login gives another token, and not the one that was given. */
  get canRepeat(): boolean {
    return this.#options.vault_auth !== 'token'
  }

  /** @throws PoolsmithError STORE_…, CREDENTIAL_MISSING, SECRET_FILE_REFUSED */
  async run(): Promise<Login> {
    const { vault_auth: method, vault_role: role, vault_auth_mount: mount = method } = this.#options
    const query = { step: `log in by ${method}`, path: `auth/${mount}/login` }
    switch (method) {
      case 'token':
        return this.#given()
      case 'approle': {
        const secretId = await this.#secretId()
        const body = { role_id: this.#options.vault_role_id, secret_id: secretId?.reveal() }
        const secrets = secretId === undefined ? [] : [secretId]
        return this.#tokenOf(await this.#send({ ...query, body, secrets }, undefined))
      }
      case 'kubernetes':
      case 'jwt': {
        const jwt = await this.#jwt()
        const body = { role, jwt: jwt.reveal() }
        return this.#tokenOf(await this.#send({ ...query, body, secrets: [jwt] }, undefined))
      }
      case 'userpass':
      case 'radius':
      case 'ldap': {
        const { vault_username: user = '', vault_password: password } = this.#options
        const body = { password: password?.reveal() }
        const secrets = password === undefined ? [] : [password]
        const path = `${query.path}/${encodeURIComponent(user)}`
        return this.#tokenOf(await this.#send({ ...query, path, body, secrets }, undefined))
      }
      case 'cert':
        return this.#tokenOf(await this.#send({ ...query, body: role === undefined ? {} : { name: role } }, undefined))
      case 'github': {
        const token = await this.#givenToken()
        return this.#tokenOf(
          await this.#send({ ...query, body: { token: token.reveal() }, secrets: [token] }, undefined),
        )
      }
      case 'aws':
        return this.#tokenOf(await this.#byClock((now) => this.#byAws(query, now)))
      case 'azure':
        return this.#tokenOf(await this.#byAzure(query))
      case 'gcp':
        return this.#tokenOf(await this.#byClock((now) => this.#byGoogle(query, now)))
      case 'kerberos': {
        const authorization = await this.#proofs.kerberos(this.#signal)
        const headers = { authorization: authorization.reveal() }
        return this.#tokenOf(await this.#send({ ...query, body: {}, headers, secrets: [authorization] }, undefined))
      }
    }
  }

  get #proofs(): VaultProofs {
    const { proofs } = this.#context
    if (proofs === undefined) throw new Error('The logins by identities of others are not set up.')
    return proofs
  }

  /** With Vault's own clock where this machine's differs: a signature that is older than a few minutes is refused. */
  async #byClock(login: (now: number) => Promise<Answer>): Promise<Answer> {
    try {
      return await login(this.#now())
    } catch (error) {
      const aheadMillis = error instanceof PoolsmithError ? Number(error.details.clockAheadMillis ?? 0) : 0
      if (aheadMillis === 0) throw error
      return login(this.#now() - aheadMillis)
    }
  }

  async #byAzure(query: Query): Promise<Answer> {
    const jwt = await this.#proofs.azure(this.#signal)
    const { vault_role: role } = this.#options
    const body = {
      role,
      jwt: jwt.reveal(),
      subscription_id: this.#options.vault_azure_subscription_id,
      resource_group_name: this.#options.vault_azure_resource_group,
      vm_name: this.#options.vault_azure_vm,
      vmss_name: this.#options.vault_azure_scale_set,
    }
    return this.#send({ ...query, body, secrets: [jwt] }, undefined)
  }

  async #byGoogle(query: Query, now: number): Promise<Answer> {
    const jwt = await this.#proofs.gcp(this.#signal, now)
    const body = { role: this.#options.vault_role, jwt: jwt.reveal() }
    return this.#send({ ...query, body, secrets: [jwt] }, undefined)
  }

  async #byAws(query: Query, now: number): Promise<Answer> {
    const { url, body: content, headers } = await this.#proofs.aws(this.#signal, now)
    const base64 = (text: string): string => Buffer.from(text).toString('base64')
    const body = {
      role: this.#options.vault_role,
      iam_http_request_method: 'POST',
      iam_request_url: base64(url.href),
      iam_request_body: base64(content),
      iam_request_headers: base64(JSON.stringify(headers)),
    }
    const secrets = [headers.authorization, headers['x-amz-security-token']].filter((text) => text !== undefined)
    return this.#send({ ...query, body, secrets: secrets.map((text) => new Secret(text)) }, undefined)
  }

  async renew(token: Secret): Promise<Login> {
    return this.#tokenOf(await this.#send({ step: 'renew the token', path: 'auth/token/renew-self', body: {} }, token))
  }

  /** A token that exists already. Its life is asked for, so that it can be renewed. */
  async #given(): Promise<Login> {
    const secret = await this.#givenToken()
    try {
      const { body } = await this.#send({ step: 'look the token up', path: 'auth/token/lookup-self' }, secret)
      const data = isRecord(body.data) ? body.data : {}
      return this.#lifeOf(secret, data.ttl, data.renewable)
    } catch (error) {
      // The policy of a token may not allow that; one that is not valid is refused by the request that follows.
      if (error instanceof PoolsmithError && error.details.status === 403) return this.#lifeOf(secret, 0, false)
      throw error
    }
  }

  async #givenToken(): Promise<Secret> {
    const { vault_token: given, vault_token_file: file } = this.#options
    if (given !== undefined) return given
    const { VAULT_TOKEN: variable } = this.#context.environment
    if (variable && file === undefined && this.#options.vault_auth === 'token') return new Secret(variable)
    const path = file ?? join(homeFolder(), '.vault-token')
    return readSecretText(path, {
      what: 'file of the Vault token',
      option: 'vault_token_file',
      missing: 'CREDENTIAL_MISSING',
    })
  }

  async #jwt(): Promise<Secret> {
    const { vault_jwt: given, vault_jwt_file: file = POD_TOKEN } = this.#options
    const use = { what: 'file of the JWT for Vault', option: 'vault_jwt_file', missing: 'CREDENTIAL_MISSING' } as const
    return given ?? readSecretText(file, use)
  }

  async #secretId(): Promise<Secret | undefined> {
    const { vault_secret_id: given, vault_secret_id_file: file, vault_secret_id_wrapped: isWrapped } = this.#options
    const use = {
      what: 'file of the secret id',
      option: 'vault_secret_id_file',
      missing: 'CREDENTIAL_MISSING',
    } as const
    const secret = given ?? (file === undefined ? undefined : await readSecretText(file, use))
    if (secret === undefined || !isWrapped) return secret
    if (this.#unwrapped?.wrapping.equals(secret)) return this.#unwrapped.secretId
    const { body } = await this.#unwrap(secret)
    const secretId = isRecord(body.data) ? body.data.secret_id : undefined
    if (typeof secretId !== 'string') throw noToken('The wrapping token holds no secret id')
    this.#unwrapped = { wrapping: secret, secretId: new Secret(secretId) }
    return this.#unwrapped.secretId
  }

  async #unwrap(wrapping: Secret): Promise<Answer> {
    try {
      return await this.#send({ step: 'unwrap the secret id', path: 'sys/wrapping/unwrap', body: {} }, wrapping)
    } catch (error) {
      if (!(error instanceof PoolsmithError) || error.details.status !== 400) throw error
      throw error.with({
        hint: 'The wrapping token has expired, or another program has used it. Revoke the secret id, look in the audit log of Vault for its use, and issue another.',
      })
    }
  }

  #tokenOf({ body: { auth } }: Answer): Login {
    const { client_token: token, lease_duration: seconds, renewable } = isRecord(auth) ? auth : {}
    if (typeof token !== 'string' || token === '' || /[^\x21-\x7e]/.test(token)) {
      throw noToken('The answer to the login holds no token')
    }
    return this.#lifeOf(new Secret(token), seconds, renewable)
  }

  #lifeOf(secret: Secret, seconds: unknown, renewable: unknown): Login {
    const lifeMillis = typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : undefined
    const expiresAt = lifeMillis === undefined ? undefined : this.#now() + lifeMillis
    return { secret, renewable: renewable === true, expiresAt, lifeMillis }
  }

  #now(): number {
    return (this.#context.now ?? Date.now)()
  }
}

function noToken(message: string): PoolsmithError {
  return new PoolsmithError(`${message}.`, {
    code: 'STORE_ANSWER_UNUSABLE',
    phase: 'credential',
    hint: 'Check vault_addr and vault_auth_mount, and what answers there.',
  })
}
