/**
 * Every sslmode against every kind of server and every kind of pg_hba.conf line, psql being the oracle: what it can
 * open we open, protected alike as the server sees it; what it cannot open we cannot. Where we are stricter on
 * purpose the case says so.
 */

import assert from 'node:assert/strict'
import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { SessionInfo } from '../../src/drivers/driver.ts'
import { type Case, compareWithPsql } from '../support/beside-psql.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki, type IssuedCertificate, type Pki } from '../support/pki.ts'
import { type PostgresServer, psql, startPostgres } from '../support/postgres.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'
import { serveCertificate } from '../support/serve-certificate.ts'

const MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const
const PASSWORD = 'a p4ssword'
const WHO = "select ssl, coalesce(version, ''), coalesce(client_dn, '') from pg_stat_ssl where pid = pg_backend_pid()"

/** One user for each kind of line; `no_line` has no line at all. */
const LINES: Readonly<Record<string, readonly string[]>> = {
  host_scram: ['host all host_scram 127.0.0.1/32 scram-sha-256'],
  host_md5: ['host all host_md5 127.0.0.1/32 md5'],
  host_password: ['host all host_password 127.0.0.1/32 password'],
  host_trust: ['host all host_trust 127.0.0.1/32 trust'],
  host_reject: ['host all host_reject 127.0.0.1/32 reject'],
  ssl_scram: ['hostssl all ssl_scram 127.0.0.1/32 scram-sha-256'],
  ssl_md5: ['hostssl all ssl_md5 127.0.0.1/32 md5'],
  ssl_password: ['hostssl all ssl_password 127.0.0.1/32 password'],
  ssl_trust: ['hostssl all ssl_trust 127.0.0.1/32 trust'],
  ssl_only: ['hostnossl all ssl_only 127.0.0.1/32 reject', 'host all ssl_only 127.0.0.1/32 scram-sha-256'],
  nossl_scram: ['hostnossl all nossl_scram 127.0.0.1/32 scram-sha-256'],
  nossl_md5: ['hostnossl all nossl_md5 127.0.0.1/32 md5'],
  nossl_password: ['hostnossl all nossl_password 127.0.0.1/32 password'],
  nossl_trust: ['hostnossl all nossl_trust 127.0.0.1/32 trust'],
  nossl_only: ['hostssl all nossl_only 127.0.0.1/32 reject', 'host all nossl_only 127.0.0.1/32 scram-sha-256'],
  cert: ['hostssl all cert 127.0.0.1/32 cert'],
  cert_scram: ['hostssl all cert_scram 127.0.0.1/32 scram-sha-256 clientcert=verify-full'],
  no_line: [],
}
const USERS = Object.keys(LINES)

let folder: { readonly path: string } & AsyncDisposable
let pki: Pki
let otherPki: Pki
let server: PostgresServer
let good: IssuedCertificate
let rootFile: string

before(async () => {
  folder = await temporaryFolder()
  pki = await createPki()
  otherPki = await createPki('another CA')
  good = await pki.issue({ commonName: 'irrelevant', dns: ['localhost'] })
  rootFile = await write('root.crt', pki.ca)
  server = await startPostgres({ hba: Object.values(LINES).flat(), tls: { ...good, ca: pki.ca } })
  for (const user of USERS) {
    const stored = user.includes('md5') ? 'md5' : 'scram-sha-256'
    await server.sql(`set password_encryption = '${stored}'; create role ${user} login password '${PASSWORD}'`)
  }
})

after(async () => {
  await server?.[Symbol.asyncDispose]()
  await folder?.[Symbol.asyncDispose]()
})

async function write(name: string, content: string): Promise<string> {
  const path = join(folder.path, name)
  await writeFile(path, content, { mode: 0o600 })
  return path
}

/** The authority, where a mode can make use of it; with `disable` we refuse a check that would be void. */
function trusted(sslmode: string): Record<string, string> {
  return { sslmode, ...(sslmode === 'disable' ? {} : { sslrootcert: rootFile }) }
}

async function clientFiles(name: string, issued: IssuedCertificate): Promise<Record<string, string>> {
  return { sslcert: await write(`${name}.crt`, issued.cert), sslkey: await write(`${name}.key`, issued.key) }
}

/** Gives the server another certificate. */
const serve = (certificate: IssuedCertificate): Promise<void> => serveCertificate(server, certificate)

const compare = (cases: readonly Case[], home?: string): Promise<void> =>
  compareWithPsql(cases, { server, password: PASSWORD, sql: WHO, check: assertEncryption, home })

/** Our report of the encryption is the same as the server's. */
function assertEncryption([ssl]: readonly unknown[], { encryption }: SessionInfo): void {
  assert.equal(encryption.kind === 'tls', ssl)
}

/** We never send a password in the clear without TLS; libpq does wherever the server asks for it. */
function withoutCleartext(user: string, mode: string, hasTls: boolean): string | undefined {
  const plain = mode === 'disable' || mode === 'allow' || (mode === 'prefer' && (!hasTls || user === 'nossl_password'))
  if (!plain || (user !== 'host_password' && user !== 'nossl_password')) return undefined
  if (mode !== 'allow' || !hasTls) return 'CLEARTEXT_REFUSED'
  // Under allow the attempt with TLS is still open.
  return user === 'host_password' ? 't|TLSv1.3|' : 'LOGIN_NOT_ADMITTED'
}

test('every sslmode agrees with psql for every kind of line in pg_hba.conf', async () => {
  const cases = USERS.flatMap((user) =>
    MODES.map((sslmode): Case => {
      const extra = { sslmode, ...(sslmode.startsWith('verify') ? { sslrootcert: rootFile } : {}) }
      const stricter = withoutCleartext(user, sslmode, true)
      return { user, extra, ...(stricter === undefined ? {} : { stricter }) }
    }),
  )
  await compare(cases)
})

test('every sslmode agrees with psql for a wrong password', async () => {
  const users = ['host_scram', 'ssl_scram', 'nossl_scram', 'host_md5', 'ssl_password']
  await compare(
    users.flatMap((user) => MODES.map((sslmode): Case => ({ user, password: 'wrong', extra: { sslmode } }))),
  )
})

test('client certificates agree with psql for lines that ask for one', async () => {
  const mine = await clientFiles('mine', await pki.issue({ commonName: 'cert', client: true }))
  const scram = await clientFiles('scram', await pki.issue({ commonName: 'cert_scram', client: true }))
  const stranger = await clientFiles('stranger', await otherPki.issue({ commonName: 'cert', client: true }))
  const none = {}
  const cases = (['cert', 'cert_scram'] as const).flatMap((user) =>
    [none, mine, scram, stranger].flatMap((files) =>
      MODES.map((sslmode): Case => ({ user, extra: { ...trusted(sslmode), ...files } })),
    ),
  )
  await compare(cases)
})

/** The certificates of a server, and the names by which it is called. */
async function certificates(): Promise<Readonly<Record<string, IssuedCertificate>>> {
  const past = { notBefore: new Date(Date.now() - 20 * 86_400_000), notAfter: new Date(Date.now() - 86_400_000) }
  return {
    good,
    'another authority': await otherPki.issue({ commonName: 'localhost', dns: ['localhost'] }),
    expired: await pki.issue({ commonName: 'localhost', dns: ['localhost'], ...past }),
    'another host': await pki.issue({ commonName: 'localhost', dns: ['db.example.test'] }),
    'ip only': await pki.issue({ commonName: 'localhost', ip: ['127.0.0.1'] }),
    'another ip and a name': await pki.issue({ commonName: '127.0.0.1', ip: ['127.0.0.2'], dns: ['localhost'] }),
    'common name': await pki.issue({ commonName: 'localhost' }),
    'common name is an ip': await pki.issue({ commonName: '127.0.0.1', dns: ['db.example.test'] }),
    wildcard: await pki.issue({ commonName: 'localhost', dns: ['*.example.test'] }),
    'wildcard common name': await pki.issue({ commonName: '*.Example.Test' }),
    'wildcard inside': await pki.issue({ commonName: 'x', dns: ['d*.example.test', 'a.*.test', '*'] }),
    rsa: await pki.issue({ commonName: 'localhost', dns: ['LOCALHOST'], keyType: 'rsa' }),
    ed25519: await pki.issue({ commonName: 'localhost', dns: ['localhost'], keyType: 'ed25519' }),
  }
}

test('every sslmode agrees with psql for every kind of server certificate', async () => {
  const hosts = ['localhost', '127.0.0.1', 'db.example.test', 'A.DB.example.test', 'example.test']
  for (const [kind, certificate] of Object.entries(await certificates())) {
    await serve(certificate)
    const verified = hosts.map(
      (host): Case => ({
        user: 'host_scram',
        host,
        extra: { sslmode: 'verify-full', sslrootcert: rootFile },
      }),
    )
    const modes = MODES.flatMap((sslmode): Case[] => [
      { user: 'host_scram', extra: { sslmode } },
      { user: 'ssl_scram', extra: trusted(sslmode) },
    ])
    try {
      await compare([...verified, ...modes])
    } catch (error) {
      throw new Error(`With the certificate "${kind}": ${error instanceof Error ? error.message : error}`)
    }
  }
  await serve(good)
})

test('every sslmode agrees with psql for a server without TLS', async () => {
  await server.sql('alter system set ssl = off')
  await server.reload()
  const users = USERS.filter((user) => !user.startsWith('ssl') && !user.startsWith('cert'))
  await compare(
    users.flatMap((user) =>
      MODES.map((sslmode): Case => {
        const stricter = withoutCleartext(user, sslmode, false)
        return { user, extra: trusted(sslmode), ...(stricter === undefined ? {} : { stricter }) }
      }),
    ),
  )
  await server.sql('alter system reset ssl')
  await server.reload()
})

test('channel_binding agrees with psql for every kind of login, with TLS and without', async () => {
  const users = ['host_scram', 'host_md5', 'host_trust', 'ssl_password', 'ssl_scram', 'nossl_scram']
  const cases = users.flatMap((user) =>
    ['disable', 'prefer', 'require'].flatMap((channel_binding) =>
      ['disable', 'prefer', 'require'].map((sslmode): Case => ({ user, extra: { sslmode, channel_binding } })),
    ),
  )
  await compare(cases)
})

test('a revocation list agrees with psql', async () => {
  const empty = await write('empty.crl', await pki.crl([]))
  const revoked = await write('revoked.crl', await pki.crl([good.serial]))
  const stranger = await write('stranger.crl', await otherPki.crl([]))
  const modes = ['prefer', 'require', 'verify-ca', 'verify-full']
  await compare(
    [empty, revoked, stranger].flatMap((sslcrl) =>
      modes.map((sslmode): Case => ({ user: 'host_scram', extra: { sslmode, sslcrl, sslrootcert: rootFile } })),
    ),
  )
})

test("libpq's default files in the home directory are used", async () => {
  const home = join(folder.path, 'home')
  const place = join(home, '.postgresql')
  await mkdir(place, { recursive: true })
  const cases = ['cert', 'host_scram', 'ssl_scram'].flatMap((user) =>
    MODES.map((sslmode): Case => ({ user, extra: { sslmode } })),
  )
  await compare(cases, home)
  const mine = await pki.issue({ commonName: 'cert', client: true })
  await writeFile(join(place, 'postgresql.crt'), mine.cert)
  await writeFile(join(place, 'postgresql.key'), mine.key, { mode: 0o600 })
  await compare(cases, home)
  await writeFile(join(place, 'root.crt'), otherPki.ca)
  await compare(cases, home)
  await writeFile(join(place, 'root.crt'), pki.ca)
  await compare(cases, home)
  await writeFile(join(place, 'root.crl'), await pki.crl([good.serial]))
  await compare(cases, home)
})

test('the versions of TLS agree with psql', async () => {
  const versions = ['TLSv1.2', 'TLSv1.3']
  await compare(
    versions.flatMap((lowest) =>
      versions
        .filter((highest) => highest >= lowest)
        .map(
          (highest): Case => ({
            user: 'ssl_scram',
            extra: { sslmode: 'require', ssl_min_protocol_version: lowest, ssl_max_protocol_version: highest },
          }),
        ),
    ),
  )
  await server.sql("alter system set ssl_max_protocol_version = 'TLSv1.2'")
  await server.reload()
  await compare([
    { user: 'ssl_scram', extra: { sslmode: 'require', ssl_min_protocol_version: 'TLSv1.3' } },
    { user: 'host_scram', extra: { sslmode: 'prefer', ssl_min_protocol_version: 'TLSv1.3' } },
    { user: 'ssl_scram', extra: { sslmode: 'require' } },
  ])
  await server.sql('alter system reset ssl_max_protocol_version')
  await server.reload()
})

test('no sslmode uses TLS over a Unix socket', async () => {
  for (const sslmode of MODES) {
    const { driver } = driverFor(
      { host: server.socketDirectory, port: server.port, login: 'ssl_scram', database: 'postgres' },
      { sslmode },
    )
    await using session = await openSession(driver, passwordCredential(PASSWORD))
    assert.equal(driver.info(session.client).encryption.kind, 'none')
    const words = `host=${server.socketDirectory} port=${server.port} user=ssl_scram dbname=postgres sslmode=${sslmode}`
    const answer = await psql(['-At', '-c', WHO, words])
    assert.equal(answer.stdout.trim(), 'f||')
  }
})

test('a named file that is missing is an error, although psql ignores some', async () => {
  const absent = join(folder.path, 'absent')
  const user = 'host_scram'
  await compare([
    { user, extra: { sslmode: 'require', sslrootcert: absent }, stricter: 'CA_FILE_MISSING' },
    { user, extra: { sslmode: 'require', sslcert: absent, sslkey: absent }, stricter: 'CERTIFICATE_FILE_MISSING' },
    { user, extra: { sslmode: 'require', sslrootcert: rootFile, sslcrl: absent }, stricter: 'CRL_FILE_MISSING' },
    { user, extra: { sslmode: 'verify-ca', sslrootcert: absent } },
    { user, extra: { sslmode: 'disable', sslcert: absent } },
  ])
})

test('a check that would have no effect is refused, although psql ignores it', async () => {
  const sslcrl = await write('void.crl', await pki.crl([good.serial]))
  const stricter = 'CONFIG_INVALID'
  const user = 'host_scram'
  await compare([
    { user, extra: { sslmode: 'disable', sslrootcert: rootFile }, stricter },
    { user, extra: { sslmode: 'disable', sslcrl }, stricter },
    { user, extra: { sslmode: 'disable', sslcrldir: folder.path }, stricter },
    ...['allow', 'prefer', 'require'].map(
      (sslmode): Case => ({ user: 'ssl_scram', extra: { sslmode, sslcrl }, stricter }),
    ),
  ])
})

test('verify-full without a host name is refused, as by psql', async () => {
  const extra = { sslmode: 'verify-full', sslrootcert: rootFile, hostaddr: '127.0.0.1' }
  const words = Object.entries(extra).map(([key, value]) => `${key}='${value}'`)
  const theirs = await psql([
    '-c',
    'select 1',
    `${words.join(' ')} port=${server.port} user=host_scram dbname=postgres`,
  ])
  assert.match(theirs.stderr, /host name must be specified/)
  assert.throws(() => driverFor({ port: server.port, login: 'host_scram' }, extra), {
    code: 'CONFIG_INVALID',
    message: /host: is missing/,
  })
})

test('a private key that others may read is refused', async () => {
  const files = await clientFiles('modes', await pki.issue({ commonName: 'cert', client: true }))
  const { sslkey } = files
  assert.ok(sslkey)
  const owned = (await stat(sslkey)).uid
  for (const mode of [0o600, 0o400, 0o640, 0o660, 0o604, 0o620, 0o610]) {
    await chmod(sslkey, mode)
    await compare([{ user: 'cert', extra: { sslmode: 'require', ...files } }])
  }
  if (process.getuid?.() !== 0) return
  for (const mode of [0o600, 0o640]) {
    await chown(sslkey, 65534, 65534)
    await chmod(sslkey, mode)
    await compare([{ user: 'cert', extra: { sslmode: 'require', ...files } }])
  }
  await chown(sslkey, owned, owned)
})
