/** The TDS server test double with a real acceptor, in a real realm, and the credential of its user alice. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after } from 'node:test'
import type { Credential } from '../../../src/credentials/credential.ts'
import { PoolsmithError } from '../../../src/errors.ts'
import { temporaryFolder } from '../folder.ts'
import { type GssAcceptor, gssAcceptor } from '../gss-acceptor.ts'
import { startKdc } from '../kdc.ts'
import { createPki } from '../pki.ts'
import { startPostgres } from '../postgres.ts'
import { testDriver } from './driver.ts'
import type { TdsServerOptions } from './options.ts'
import { startTdsServer, type TdsServer } from './server.ts'

const resources = new AsyncDisposableStack()
after(() => resources.disposeAsync())
const folder = resources.use(await temporaryFolder())
export const postgres = resources.use(await startPostgres())
export const pki = await createPki()
export const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
export const caFile = join(folder.path, 'ca.pem')
await writeFile(caFile, pki.ca)
export const kdc = resources.use(await startKdc())
// This must happen before the first context of this process, because MIT reads it once.
Object.assign(process.env, kdc.environment)
await kdc.addPrincipal('alice', { password: 'pw' })
const cache = `FILE:${kdc.path('alice')}`
await kdc.kinit('alice', cache, { password: 'pw' })
export const alice: Credential = {
  kind: 'gss',
  identity: `alice@${kdc.realm}`,
  principal: `alice@${kdc.realm}`,
  cache,
  issuedAt: Date.now(),
}
const services = new Set<string>()

interface KerberosServer extends TdsServer {
  /** The logins at the acceptors, in order. */
  readonly seen: { readonly principal: string; readonly delegated: boolean }[]
}

/** A server whose service principal is in the realm: `spn` is made from its port unless given. */
export async function start(
  options: Partial<TdsServerOptions> & {
    readonly reply?: 'together' | 'apart'
    readonly spn?: string
    readonly insists?: boolean
  } = {},
): Promise<KerberosServer> {
  const { reply, spn, insists = false, ...rest } = options
  const seen: KerberosServer['seen'] = []
  let keytab = ''
  const server = await startTdsServer({
    postgres,
    tls: certificate,
    sspi: {
      ...(reply === undefined ? {} : { reply }),
      acceptor: ({ channelBindings }) => {
        const acceptor: GssAcceptor = gssAcceptor(keytab, insists ? { channelBindings } : {})
        return {
          step: async (token) => {
            const answer = await acceptor.step(token)
            if (answer.principal !== undefined) {
              seen.push({ principal: answer.principal, delegated: answer.delegated ?? false })
            }
            return answer
          },
          close: () => acceptor.close(),
        }
      },
    },
    ...rest,
  })
  const service = spn ?? `MSSQLSvc/localhost:${server.port}`
  await addService(service)
  keytab = await kdc.keytab(service)
  return Object.assign(server, { seen })
}

/** Once, because the system may give a server the port of a stopped one. */
export async function addService(name: string): Promise<void> {
  if (services.has(name)) return
  services.add(name)
  await kdc.addPrincipal(name)
}

export function driverFor(
  server: TdsServer,
  extra: Readonly<Record<string, unknown>> = {},
): ReturnType<typeof testDriver> {
  return testDriver({ port: server.port }, { ca_file: caFile, ...extra })
}

export async function failure(opening: Promise<unknown>): Promise<PoolsmithError> {
  try {
    await opening
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, `not one of ours: ${String(error)}`)
    return error
  }
  throw new assert.AssertionError({ message: 'the login went through' })
}
