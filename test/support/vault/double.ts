/**
 * A double of Vault for tests without a Vault: key-value engines 1 and 2, tokens, AppRole, JWT, certificates,
 * wrapping, users of PostgreSQL, by the published API (https://developer.hashicorp.com/vault/api-docs). test/interop/stores runs the same suite against OpenBao.
 */

import { randomBytes } from 'node:crypto'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { TLSSocket } from 'node:tls'
import { importSPKI, jwtVerify } from 'jose'
import { DatabaseEngine } from './database-double.ts'
import { type Identities, loginByIdentity, noIdentities } from './identity-logins.ts'
import type { Asked, Reply, Role, VaultServer } from './server.ts'

interface Token {
  readonly policies: readonly string[]
  readonly ttlMillis: number
  readonly maxEndsAt: number
  readonly renewable: boolean
  endsAt: number
}

interface Version {
  readonly data: Record<string, unknown>
  readonly createdAt: string
  deletedAt: string
  destroyed: boolean
}

const ROOT = 'root'
const FORBIDDEN: Reply = { status: 403, body: { errors: ['permission denied'] } }
const NOTHING: Reply = { status: 404, body: { errors: [] } }

const ok = (body: Record<string, unknown>): Reply => ({ status: 200, body })
const bad = (message: string): Reply => ({ status: 400, body: { errors: [message] } })

export interface VaultDouble extends VaultServer {
  /** Every request, in order. */
  readonly asked: Asked[]
  /** Answers in place of the server, as long as it is set; undefined lets a request through. */
  fault: ((asked: Asked, response: ServerResponse) => Reply | 'handled' | undefined) | undefined
  /** The identities that it knows. */
  readonly identities: Identities
  /** How far its clock is ahead, in milliseconds. */
  aheadMillis: number
}

/** The TLS side of the double: its certificate, and the authority of its clients. */
export interface VaultTls {
  readonly cert: string
  readonly key: string
  readonly ca: string
}

export async function startVaultDouble(tls?: VaultTls): Promise<VaultDouble> {
  const identities = noIdentities()
  const core = new Core(new Map([['secret/', 2]]), identities)
  const asked: Asked[] = []
  const double: Pick<VaultDouble, 'fault' | 'aheadMillis'> = { fault: undefined, aheadMillis: 0 }
  const answerTo = (request: IncomingMessage, response: ServerResponse): void => {
    void bodyOf(request).then(async (body) => {
      const path = (request.url ?? '').replace(/^\/v1\//, '')
      const one: Asked = {
        method: request.method ?? '',
        path,
        headers: request.headers,
        body,
        client: clientOf(request),
      }
      asked.push(one)
      const fault = double.fault?.(one, response)
      if (fault === 'handled') return
      const {
        status,
        body: answer,
        headers,
      } = fault ?? (await core.in(String(one.headers['x-vault-namespace'] ?? ''), one)(Date.now() + double.aheadMillis))
      const date = new Date(Date.now() + double.aheadMillis).toUTCString()
      response.writeHead(status, { 'content-type': 'application/json', date, ...headers })
      response.end(typeof answer === 'string' ? answer : answer === undefined ? '' : JSON.stringify(answer))
    })
  }
  const server =
    tls === undefined
      ? createServer(answerTo)
      : createTlsServer({ ...tls, requestCert: true, rejectUnauthorized: false }, answerTo)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return Object.assign(double, {
    address: `http${tls === undefined ? '' : 's'}://127.0.0.1:${port}`,
    rootToken: ROOT,
    identities,
    asked,
    async [Symbol.asyncDispose]() {
      core.close()
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

/** The name in a client certificate that the authority signed. */
function clientOf({ socket }: IncomingMessage): string | undefined {
  return socket instanceof TLSSocket && socket.authorized ? String(socket.getPeerCertificate().subject.CN) : undefined
}

async function bodyOf(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  const text = Buffer.concat(chunks).toString('utf8')
  return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
}

/** One namespace. A namespace in it has mounts, policies and tokens of its own; the root token is good in all. */
class Core {
  readonly #mounts: Map<string, number>
  readonly #namespaces = new Map<string, Core>()
  readonly #tokens = new Map<string, Token>([
    [ROOT, { policies: ['root'], ttlMillis: 0, maxEndsAt: Infinity, renewable: false, endsAt: Infinity }],
  ])
  readonly #policies = new Map<string, string>()
  readonly #roles = new Map<string, Role>()
  readonly #secretIds = new Map<string, { readonly role: string; left: number }>()
  readonly #wrapped = new Map<string, Record<string, unknown>>()
  readonly #first = new Map<string, Record<string, unknown>>()
  readonly #second = new Map<string, Version[]>()
  readonly database = new DatabaseEngine()
  #sealed = false
  #jwtKey = ''
  readonly #identities: Identities

  constructor(mounts: Map<string, number>, identities: Identities) {
    this.#mounts = mounts
    this.#identities = identities
  }

  close(): void {
    this.database.close()
    for (const one of this.#namespaces.values()) one.close()
  }

  /** The answer of a namespace below this one: `team/part`. @returns takes the time in milliseconds since the epoch */
  in(path: string, asked: Asked): (now: number) => Promise<Reply> {
    const [name = '', ...rest] = path.split('/').filter((part) => part !== '')
    if (name === '') return (now) => this.answer(asked, now)
    const inner = this.#namespaces.get(name)
    return inner === undefined ? async () => NOTHING : inner.in(rest.join('/'), asked)
  }

  /** @param now in milliseconds since the epoch */
  async answer(asked: Asked, now: number): Promise<Reply> {
    const { method, headers, body } = asked
    const [path = '', query = ''] = asked.path.split('?')
    const sent = String(headers['x-vault-token'] ?? '')
    if (this.#sealed && path !== 'sys/unseal') return { status: 503, body: { errors: ['Vault is sealed'] } }
    if (path === 'sys/unseal') this.#sealed = false
    if (path === 'sys/unseal') return ok({})
    if (path === 'sys/wrapping/unwrap') return this.#unwrap(sent)
    if (path === 'auth/approle/login') return this.#login(body)
    if (path === 'auth/jwt/login') return this.#jwtLogin(body)
    const given = await loginByIdentity(asked, this.#identities, (name) => this.#roles.get(String(name)), now)
    if (given !== undefined) return 'policies' in given ? this.#issue({ ...given, renewable: true }) : given
    const token = this.#tokens.get(sent)
    if (token === undefined || token.endsAt <= Date.now()) return FORBIDDEN
    if (path.startsWith('auth/token/')) return this.#tokenPath(path.slice('auth/token/'.length), sent, token, body)
    const isRoot = token.policies.includes('root')
    const mount = [...this.#mounts.keys()].find((each) => path.replace('sys/internal/ui/mounts/', '').startsWith(each))
    if (path.startsWith('sys/internal/ui/mounts/')) {
      const sees = isRoot || token.policies.some((name) => this.#policies.get(name)?.includes(`"${mount}`) === true)
      if (mount === undefined || !sees)
        return { status: 403, body: { errors: [`preflight capability check returned 403`] } }
      return ok({ data: { path: mount, type: 'kv', options: { version: String(this.#mounts.get(mount)) } } })
    }
    if (!isRoot && !token.policies.some((name) => this.#allows(name, path))) return FORBIDDEN
    const ofDatabase = await this.database.answer({ path, body }, sent)
    if (ofDatabase !== undefined) return ofDatabase
    if (mount !== undefined && !path.startsWith('sys/')) return this.#secret(method, path, mount, query, body)
    return this.#administer(path, headers, body)
  }

  #allows(policy: string, path: string): boolean {
    const rules = [...(this.#policies.get(policy) ?? '').matchAll(/path "([^"]+)"/g)].map(([, rule = '']) => rule)
    return rules.some((rule) => (rule.endsWith('*') ? path.startsWith(rule.slice(0, -1)) : path === rule))
  }

  #administer(path: string, headers: IncomingHttpHeaders, body: Record<string, unknown>): Reply {
    const [, mount] = /^sys\/mounts\/(.+)$/.exec(path) ?? []
    const [, policy] = /^sys\/policies\/acl\/(.+)$/.exec(path) ?? []
    const [, role = '', leaf] =
      /^auth\/(?:approle\/role|(?:jwt|aws|azure|gcp)\/role|cert\/certs|(?:userpass|ldap|radius)\/users|github\/map\/users|kerberos\/groups)\/([^/]+)(?:\/(.+))?$/.exec(
        path,
      ) ?? []
    if (path === 'auth/jwt/config') [this.#jwtKey = ''] = body.jwt_validation_pubkeys as readonly string[]
    else if (path === 'auth/aws/config/client') this.#identities.awsServerId = String(body.iam_server_id_header_value)
    else if (path.startsWith('sys/namespaces/')) {
      this.#namespaces.set(path.slice('sys/namespaces/'.length), new Core(new Map(), this.#identities))
      return ok({ data: {} })
    } else if (path === 'sys/seal') this.#sealed = true
    else if (mount !== undefined)
      this.#mounts.set(`${mount}/`, Number((body.options as { version?: string } | undefined)?.version ?? 1))
    else if (policy !== undefined) this.#policies.set(policy, String(body.policy))
    else if (role !== '' && leaf === undefined) {
      const policies = body.token_policies as readonly string[]
      const uses = Number(body.secret_id_num_uses ?? 0)
      const ttlSeconds = Number(body.token_ttl ?? 3600)
      const audiences = (body.bound_audiences ?? []) as readonly string[]
      const maxTtlSeconds = Number(body.token_max_ttl ?? 3600)
      const accounts = body.bound_service_accounts as readonly string[] | undefined
      const machine = body.bound_virtual_machine as string | undefined
      this.#roles.set(role, { policies, uses, ttlSeconds, maxTtlSeconds, audiences, accounts, machine })
    } else if (leaf === 'role-id') return ok({ data: { role_id: `id-of-${role}` } })
    else if (leaf === 'secret-id') return this.#secretId(role, headers)
    return { status: 204 }
  }

  #secretId(role: string, headers: IncomingHttpHeaders): Reply {
    const secretId = randomBytes(16).toString('hex')
    this.#secretIds.set(secretId, { role, left: this.#roles.get(role)?.uses || Infinity })
    if (headers['x-vault-wrap-ttl'] === undefined) return ok({ data: { secret_id: secretId } })
    const wrapping = `s.${randomBytes(16).toString('hex')}`
    this.#wrapped.set(wrapping, { secret_id: secretId })
    return ok({ wrap_info: { token: wrapping, ttl: 60 } })
  }

  #unwrap(token: string): Reply {
    const data = this.#wrapped.get(token)
    if (data === undefined) return bad('wrapping token is not valid or does not exist')
    this.#wrapped.delete(token)
    return ok({ data })
  }

  #login({ role_id: roleId, secret_id: secretId }: Record<string, unknown>): Reply {
    const entry = this.#secretIds.get(String(secretId))
    if (entry === undefined || entry.left <= 0 || roleId !== `id-of-${entry.role}`) {
      return bad('invalid role or secret ID')
    }
    entry.left--
    const role = this.#roles.get(entry.role) as Role
    return this.#issue({ ...role, renewable: true })
  }

  async #jwtLogin({ role: name, jwt }: Record<string, unknown>): Promise<Reply> {
    const role = this.#roles.get(String(name))
    if (role === undefined) return bad(`role "${name}" could not be found`)
    try {
      const key = await importSPKI(this.#jwtKey, 'ES256')
      await jwtVerify(String(jwt), key, { audience: [...role.audiences] })
    } catch (error) {
      return bad(`error validating token: ${(error as Error).message}`)
    }
    return this.#issue({ ...role, renewable: true })
  }

  #issue(role: Pick<Role, 'policies' | 'ttlSeconds' | 'maxTtlSeconds'> & { readonly renewable: boolean }): Reply {
    const token = `s.${randomBytes(16).toString('hex')}`
    const now = Date.now()
    const ttlMillis = role.ttlSeconds * 1000
    const maxEndsAt = now + role.maxTtlSeconds * 1000
    const { policies, renewable } = role
    this.#tokens.set(token, { policies, ttlMillis, maxEndsAt, renewable, endsAt: now + ttlMillis })
    return ok({ auth: { client_token: token, lease_duration: role.ttlSeconds, renewable, policies } })
  }

  #tokenPath(path: string, id: string, token: Token, body: Record<string, unknown>): Reply {
    const left = (): number => Math.round((token.endsAt - Date.now()) / 1000)
    switch (path) {
      case 'lookup-self':
        return ok({ data: { id, ttl: token.endsAt === Infinity ? 0 : left(), renewable: token.renewable } })
      case 'renew-self':
        if (!token.renewable) return bad('lease is not renewable')
        token.endsAt = Math.min(Date.now() + token.ttlMillis, token.maxEndsAt)
        return ok({ auth: { client_token: id, lease_duration: left(), renewable: true } })
      case 'revoke':
      case 'revoke-accessor': {
        // The accessor of a token is the token itself here.
        const gone = String(body.token ?? body.accessor)
        this.#tokens.delete(gone)
        void this.database.revokeOf(gone)
        return { status: 204 }
      }
      case 'accessors':
        return ok({ data: { keys: [...this.#tokens.keys()] } })
      case 'lookup-accessor':
        return ok({ data: { policies: this.#tokens.get(String(body.accessor))?.policies } })
      case 'create': {
        const ttlSeconds = Number.parseInt(String(body.ttl ?? '3600'), 10)
        const policies = body.policies as readonly string[]
        return this.#issue({ policies, ttlSeconds, maxTtlSeconds: 3600, renewable: body.renewable !== false })
      }
      default:
        return NOTHING
    }
  }

  #secret(method: string, path: string, mount: string, query: string, body: Record<string, unknown>): Reply {
    const rest = path.slice(mount.length)
    if (rest.endsWith('.')) return NOTHING
    if (this.#mounts.get(mount) === 1) {
      if (method === 'POST') this.#first.set(path, body)
      if (method === 'POST') return { status: 204 }
      const data = this.#first.get(path)
      return data === undefined ? NOTHING : ok({ lease_duration: 2_764_800, data })
    }
    const [kind = '', ...parts] = rest.split('/')
    const key = mount + parts.join('/')
    const versions = this.#second.get(key) ?? []
    if (method === 'DELETE' || kind === 'destroy') {
      const last = versions.at(-1)
      if (last !== undefined) last.deletedAt = new Date().toISOString()
      if (last !== undefined && kind === 'destroy') last.destroyed = true
      return { status: 204 }
    }
    if (kind !== 'data') return NOTHING
    if (method === 'POST') {
      const data = body.data as Record<string, unknown>
      const { cas } = (body.options ?? {}) as { readonly cas?: number }
      if (cas !== undefined && cas !== versions.length)
        return bad('check-and-set parameter did not match the current version')
      this.#second.set(key, [
        ...versions,
        { data, createdAt: new Date().toISOString(), deletedAt: '', destroyed: false },
      ])
      return ok({ data: { version: versions.length + 1 } })
    }
    const asked = Number(new URLSearchParams(query).get('version') ?? versions.length)
    const version = versions[asked - 1]
    if (version === undefined) return NOTHING
    const { createdAt, deletedAt, destroyed } = version
    const isGone = deletedAt !== '' || destroyed
    const metadata = { version: asked, created_time: createdAt, deletion_time: deletedAt, destroyed }
    return { status: isGone ? 404 : 200, body: { data: { data: isGone ? null : version.data, metadata } } }
  }
}
