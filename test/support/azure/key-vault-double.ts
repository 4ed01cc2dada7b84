/**
 * Azure Key Vault on loopback, by its REST reference, as far as secrets are read, listed, written and deleted: a request
 * without a token is answered by a challenge, and tokens are verified. @azure/keyvault-secrets is driven against it beside ours.
 */

import { randomBytes } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { type Agent, createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { agentTo } from '../agent-to.ts'
import { createPki } from '../pki.ts'

/** Those of the clouds, and one for names with a port. */
const DOMAINS = ['vault.azure.net', 'vault.azure.cn', 'vault.usgovcloudapi.net', 'vault.test']

interface Version {
  readonly id: string
  readonly value: string
  readonly createdAt: number
  readonly contentType: string | undefined
  readonly tags: unknown
  enabled: boolean
}

export type Right = 'get' | 'list' | 'set'

export interface KeyVaultDouble extends AsyncDisposable {
  /** For URLs of vaults in `vault.test`. */
  readonly port: number
  /** PEM: the authority that signed its certificate, for a separate process. */
  readonly ca: string
  /** Leads the names of vaults to the double. */
  readonly agents: { readonly http: never; readonly https: Agent }
  /** The rights of each application, by its id. */
  readonly rights: Map<string, ReadonlySet<Right>>
  /** Method and path of every request, in order, with the application of its token. */
  readonly asked: { readonly method: string; readonly path: string; readonly appid: string | undefined }[]
  /** The resource of the challenge. Default: the domain of the vault that was asked. */
  resource: string | undefined
  /** Answers in place of the vault, as long as it is set; false lets a request through. */
  fault: ((path: string, response: ServerResponse) => boolean) | undefined
  put(name: string, value: string): string
  disable(name: string): void
  delete(name: string): void
}

class VaultRefusal extends Error {
  readonly status: number
  readonly code: string
  readonly inner: string | undefined

  constructor(status: number, code: string, message: string, inner?: string) {
    super(message)
    this.status = status
    this.code = code
    this.inner = inner
  }
}

/** @param verify gives the application of a token. Throws when it is not for this audience */
export async function startKeyVaultDouble(
  authority: string,
  verify: (token: string, audience: string) => Promise<string>,
): Promise<KeyVaultDouble> {
  const pki = await createPki('key vault authority')
  const { cert, key } = await pki.issue({ commonName: 'vault', dns: DOMAINS.map((domain) => `*.${domain}`) })
  const trusted = tls.getCACertificates('default')
  tls.setDefaultCACertificates([...trusted, pki.ca])
  const secrets = new Map<string, Version[]>()
  const deleted = new Set<string>()
  // Times have a resolution of a second here, and versions are made in a moment.
  let clock = Math.floor(Date.now() / 1000) - 1000
  const state = {
    rights: new Map<string, ReadonlySet<Right>>(),
    asked: [] as KeyVaultDouble['asked'],
    resource: undefined as string | undefined,
    fault: undefined as KeyVaultDouble['fault'],
  }

  function put(name: string, value: string, contentType?: string, tags?: unknown): string {
    const id = randomBytes(16).toString('hex')
    const version = { id, value, createdAt: ++clock, contentType, tags, enabled: true }
    secrets.set(name, [...(secrets.get(name) ?? []), version])
    return id
  }

  function bundle(host: string, name: string, version: Version, hasValue: boolean): object {
    const { id, value, createdAt: created, contentType, tags, enabled } = version
    const attributes = { enabled, created, updated: created, recoveryLevel: 'Recoverable+Purgeable' }
    return {
      ...(hasValue ? { value } : {}),
      id: `https://${host}/secrets/${name}/${id}`,
      contentType,
      tags,
      attributes,
    }
  }

  function answer(method: string, host: string, path: string, body: string, rights: ReadonlySet<Right>): object {
    const need = (right: Right): void => {
      if (rights.has(right)) return
      throw new VaultRefusal(403, 'Forbidden', 'Caller is not authorized to perform action.', 'ForbiddenByRbac')
    }
    const [, kind = '', name = '', part] = path.split('/')
    const notFound = `A secret with (name/id) ${name} was not found in this key vault.`
    if (kind === 'deletedsecrets') {
      need('get')
      const last = secrets.get(name)?.at(-1)
      if (!deleted.has(name) || last === undefined) throw new VaultRefusal(404, 'SecretNotFound', notFound)
      return { ...bundle(host, name, last, false), recoveryId: `https://${host}/deletedsecrets/${name}` }
    }
    if (method === 'PUT') {
      need('set')
      if (deleted.has(name)) throw new VaultRefusal(409, 'Conflict', `Secret ${name} is deleted but recoverable.`)
      const { value, contentType, tags } = JSON.parse(body) as Record<string, unknown>
      put(name, String(value), contentType as string | undefined, tags)
      return bundle(host, name, secrets.get(name)?.at(-1) as Version, true)
    }
    const versions = deleted.has(name) ? [] : (secrets.get(name) ?? [])
    if (part === 'versions') {
      need('list')
      return { value: versions.map((each) => bundle(host, name, each, false)), nextLink: null }
    }
    need('get')
    const version = part === undefined || part === '' ? versions.at(-1) : versions.find(({ id }) => id === part)
    if (version === undefined) throw new VaultRefusal(404, 'SecretNotFound', notFound)
    if (!version.enabled) {
      throw new VaultRefusal(403, 'Forbidden', 'Operation get is not allowed on a disabled secret.', 'SecretDisabled')
    }
    return bundle(host, name, version, true)
  }

  const server = createServer({ cert, key }, (incoming, response) => {
    const chunks: Buffer[] = []
    incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
    incoming.once('end', () => {
      const { method = '', url = '', headers } = incoming
      const host = String(headers.host)
      const path = new URL(url, 'https://vault').pathname
      const resource = state.resource ?? `https://${host.split(':')[0]?.split('.').slice(1).join('.')}`
      const challenge = (): void => {
        response.setHeader('www-authenticate', `Bearer authorization="${authority}", resource="${resource}"`)
        throw new VaultRefusal(401, 'Unauthorized', 'AKV10000: Request is missing a Bearer or PoP token.')
      }
      void (async () => {
        const token = /^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1]
        const appid = token === undefined ? undefined : await verify(token, resource).catch(() => undefined)
        state.asked.push({ method, path, appid })
        if (appid === undefined) return challenge()
        if (state.fault?.(path, response) === true) return
        const output = answer(
          method,
          host,
          path,
          Buffer.concat(chunks).toString('utf8'),
          state.rights.get(appid) ?? new Set(),
        )
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(output))
      })().catch((error: unknown) => {
        if (!(error instanceof VaultRefusal)) throw error
        refuseByVault(response, error.status, error.code, error.message, { inner: error.inner })
      })
    })
  })
  const sockets = new Set<Duplex>()
  server.on('connection', (socket) => sockets.add(socket.once('close', () => sockets.delete(socket))))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  return Object.assign(state, {
    port,
    ca: pki.ca,
    agents: { http: undefined as never, https: agentTo(() => port, DOMAINS) },
    put: (name: string, value: string) => put(name, value),
    disable(name: string) {
      const last = secrets.get(name)?.at(-1)
      if (last !== undefined) last.enabled = false
    },
    delete: (name: string) => void deleted.add(name),
    async [Symbol.asyncDispose]() {
      tls.setDefaultCACertificates(trusted)
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  })
}

/** An error as Key Vault has it. */
export function refuseByVault(
  response: ServerResponse,
  status: number,
  code: string,
  message: string,
  { inner, headers = {} }: { readonly inner?: string | undefined; readonly headers?: Record<string, string> } = {},
): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  const innererror = inner === undefined ? undefined : { code: inner }
  response.end(JSON.stringify({ error: { code, message, innererror } }))
}
