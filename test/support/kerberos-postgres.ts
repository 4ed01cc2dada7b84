/** Debian's PostgreSQL 15 in a separate realm: a KDC, a server with a keytab, and principals that may use any role. */

import { chmod, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { GssCredential } from '../../src/credentials/credential.ts'
import { enterRealm, type Kdc, type PrincipalOptions, startKdc } from './kdc.ts'
import { type PostgresServer, startPostgres } from './postgres.ts'

export interface KerberosPostgresOptions {
  /** Default `TEST.REALM`. */
  readonly realm?: string
  readonly hba: readonly string[]
  /** Principals besides `alice`. */
  readonly principals?: Readonly<Record<string, PrincipalOptions>>
  /** Roles; each principal may log in as any of them where the line says `map=any`. Default: `alice`. */
  readonly roles?: readonly string[]
  readonly rolePassword?: string
  readonly tls?: { readonly cert: string; readonly key: string }
  readonly config?: Readonly<Record<string, string>>
  /** Additional environment variables of the server. */
  readonly environment?: Readonly<Record<string, string>>
}

export interface KerberosPostgres extends AsyncDisposable {
  readonly kdc: Kdc
  readonly server: PostgresServer
  /** With `alice` and the other principals. */
  readonly keytab: string
  /** A cache with a fresh ticket. */
  ticket(principal: string, name: string, lifetime?: string): Promise<string>
  /** Gives the server another keytab, without a restart. */
  serveKeytab(path: string): Promise<void>
}

/** Makes this process use the realm too. */
export async function startKerberosPostgres(options: KerberosPostgresOptions): Promise<KerberosPostgres> {
  const { principals = {}, roles = ['alice'] } = options
  const kdc = await startKdc(options.realm === undefined ? {} : { realm: options.realm })
  try {
    enterRealm(kdc)
    // The server runs under another account than the KDC.
    await chmod(kdc.folder, 0o711)
    const clients = { alice: {}, ...principals }
    for (const [name, principal] of Object.entries(clients)) await kdc.addPrincipal(name, principal)
    await kdc.addPrincipal('postgres/localhost')
    const readable = async (path: string): Promise<string> => {
      await chmod(path, 0o644)
      return path
    }
    const serverKeytab = await readable(await kdc.keytab('postgres/localhost'))
    const server = await startPostgres({
      flavor: 'debian',
      environment: { ...kdc.environment, ...options.environment },
      hba: options.hba,
      config: { krb_server_keyfile: serverKeytab, ...options.config },
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    })
    const password = options.rolePassword === undefined ? '' : ` password '${options.rolePassword}'`
    await server.sql(roles.map((role) => `create role ${role} login${password};`).join('\n'))
    const map = Object.keys(clients).flatMap((name) => roles.map((role) => `any ${name}@${kdc.realm} ${role}`))
    const identFile = join(server.dataDirectory, 'pg_ident.conf')
    const { mode } = await stat(identFile)
    await writeFile(identFile, `${map.join('\n')}\n`, { mode })
    await server.setHba(options.hba)
    return {
      kdc,
      server,
      keytab: await kdc.keytab(...Object.keys(clients)),
      ticket: async (principal, name, lifetime) => {
        const cache = `FILE:${kdc.path(name)}`
        const keytab = await kdc.keytab(principal)
        await kdc.kinit(principal, cache, { keytab, ...(lifetime === undefined ? {} : { lifetime }) })
        return cache
      },
      serveKeytab: async (path) => {
        await readable(path)
        await server.sql(`alter system set krb_server_keyfile = '${path}'`)
        await server.sql('select pg_reload_conf()')
        await server.setHba(options.hba)
      },
      [Symbol.asyncDispose]: async () => {
        await server[Symbol.asyncDispose]()
        await kdc[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await kdc[Symbol.asyncDispose]()
    throw error
  }
}

/** The credential of the strategy `kerberos` for a cache that another process fills. */
export function gssCredential(cache: string, user: string, principal = 'alice@TEST.REALM'): GssCredential {
  return { kind: 'gss', identity: principal, user, principal, cache, issuedAt: 0, minimumLifetimeSeconds: 0 }
}
