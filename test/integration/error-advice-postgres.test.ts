/** The faults of a login to PostgreSQL, brought about one by one: each is named by itself, and says what to do. */

import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import type { PostgresTarget } from '../../src/drivers/postgres/options.ts'
import type { ErrorCode, PoolsmithError } from '../../src/errors.ts'
import { temporaryFolder } from '../support/folder.ts'
import { freePort } from '../support/free-port.ts'
import { createPki, type Pki } from '../support/pki.ts'
import { type PostgresServer, startPostgres } from '../support/postgres.ts'
import { driverFor, openingError, passwordCredential } from '../support/postgres-driver.ts'

const stack = new AsyncDisposableStack()
let folder: string
let server: PostgresServer
let plain: PostgresServer
let pki: Pki
const files: Record<string, string> = {}

async function write(name: string, content: string, mode = 0o600): Promise<void> {
  files[name] = join(folder, name)
  await writeFile(join(folder, name), content, { mode })
}

before(async () => {
  folder = stack.use(await temporaryFolder()).path
  pki = await createPki()
  const issued = await pki.issue({ commonName: 'localhost', dns: ['localhost'], ip: ['127.0.0.1'] })
  server = stack.use(
    await startPostgres({
      flavor: 'debian',
      tls: { ...issued, ca: pki.ca },
      hba: [
        'hostssl all by_ldap 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix="cn="',
        'hostssl all by_radius 127.0.0.1/32 radius radiusservers="127.0.0.1" radiussecrets="x" radiusports="1"',
        'hostssl all by_pam 127.0.0.1/32 pam',
        'hostssl all by_ident 127.0.0.1/32 ident',
        'hostssl all by_cert 127.0.0.1/32 cert',
        'hostssl all rejected 127.0.0.1/32 reject',
        'hostssl all trusted,nologin,limited,nobody 127.0.0.1/32 trust',
        'hostssl all etl 127.0.0.1/32 scram-sha-256',
      ],
    }),
  )
  const roles = ['by_ldap', 'by_radius', 'by_pam', 'by_ident', 'by_cert', 'by_peer', 'rejected', 'trusted']
  await server.sql(roles.map((role) => `create role ${role} login`).join('; '))
  await server.sql(
    `create role nologin; create role limited login connection limit 0; create role etl login password 'x'`,
  )
  await server.sql('create database closed')
  await server.sql('create database frozen')
  await server.sql('revoke connect on database closed from public')
  await server.sql('alter database frozen allow_connections false')
  const hba = join(server.dataDirectory, 'pg_hba.conf')
  await writeFile(hba, `local all by_peer peer\n${await readFile(hba, 'utf8')}`)
  await server.reload()
  plain = stack.use(await startPostgres({ hba: ['host all all 127.0.0.1/32 trust'] }))

  const client = await pki.issue({ commonName: 'somebody', client: true })
  const other = await pki.issue({ commonName: 'somebody', client: true })
  const expired = { notBefore: new Date(0), notAfter: new Date(86_400_000) }
  const old = await pki.issue({ commonName: 'somebody', client: true, ...expired })
  await write('ca.pem', pki.ca)
  await write('other-ca.pem', (await createPki('another CA')).ca)
  await write('client.pem', client.cert)
  await write('client.key', client.key)
  await write('other.key', other.key)
  await write('open.key', client.key, 0o644)
  await write('old.pem', old.cert)
  await write('old.key', old.key)
  await write('empty.pem', '')
  await write('revoked.crl', await pki.crl([issued.serial]))
})
after(() => stack.disposeAsync())

interface Fault {
  readonly code: ErrorCode
  /** The words that the advice must have. */
  readonly hint: RegExp
  readonly to?: PostgresTarget
  readonly extra?: () => Record<string, unknown>
}

const as = (login: string): Fault['to'] => ({ login })
const clientFiles = (cert: string, key: string) => () => ({ sslcert: files[cert], sslkey: files[key] })

const FAULTS: Readonly<Record<string, Fault>> = {
  'a wrong password': { to: as('etl'), code: 'LOGIN_REFUSED', hint: /Check the user and the password, token/ },
  'LDAP refuses': { to: as('by_ldap'), code: 'LOGIN_REFUSED', hint: /in the directory/ },
  'RADIUS refuses': { to: as('by_radius'), code: 'LOGIN_REFUSED', hint: /RADIUS server/ },
  'PAM refuses': { to: as('by_pam'), code: 'LOGIN_REFUSED', hint: /log of PAM/ },
  'Ident refuses': { to: as('by_ident'), code: 'LOGIN_REFUSED', hint: /Ident asks this machine/ },
  'Peer refuses': {
    to: { login: 'by_peer', host: 'socket' },
    extra: () => ({ sslmode: 'disable' }),
    code: 'LOGIN_REFUSED',
    hint: /user of the operating system/,
  },
  'a client certificate of another name': {
    to: as('by_cert'),
    extra: clientFiles('client.pem', 'client.key'),
    code: 'LOGIN_REFUSED',
    hint: /\(CN\)/,
  },
  'no client certificate': {
    to: as('by_cert'),
    code: 'TLS_CLIENT_CERTIFICATE_REFUSED',
    hint: /Set sslcert and sslkey/,
  },
  'pg_hba.conf rejects': {
    to: as('rejected'),
    code: 'LOGIN_NOT_ADMITTED',
    hint: /first line of pg_hba\.conf that fits .* says reject/,
  },
  'no line of pg_hba.conf': { to: as('stranger'), code: 'LOGIN_NOT_ADMITTED', hint: /No line of pg_hba\.conf admits/ },
  'a role without LOGIN': { to: as('nologin'), code: 'LOGIN_ROLE_UNUSABLE', hint: /LOGIN/ },
  'a role that does not exist': { to: as('nobody'), code: 'LOGIN_ROLE_UNUSABLE', hint: /role must exist/ },
  'a role at its limit': { to: as('limited'), code: 'SERVER_FULL', hint: /limit of the role/ },
  'a database that does not exist': {
    to: { login: 'trusted', database: 'nowhere' },
    code: 'DATABASE_NOT_FOUND',
    hint: /case-sensitive/,
  },
  'a database that this role may not use': {
    to: { login: 'trusted', database: 'closed' },
    code: 'DATABASE_NOT_PERMITTED',
    hint: /GRANT CONNECT/,
  },
  'a database that accepts no connections': {
    to: { login: 'trusted', database: 'frozen' },
    code: 'DATABASE_NOT_PERMITTED',
    hint: /ALLOW_CONNECTIONS/,
  },
  'a setting that the server does not know': {
    extra: () => ({ options: '-c nonsense_of_ours=1' }),
    code: 'SETTING_REFUSED',
    hint: /`options`/,
  },
  'a wrong value of a setting': {
    extra: () => ({ options: '-c work_mem=x' }),
    code: 'SETTING_REFUSED',
    hint: /`options`/,
  },
  'options that are no settings': {
    extra: () => ({ options: 'nonsense' }),
    code: 'SETTING_REFUSED',
    hint: /`options`/,
  },
  'a setting that this role may not set': {
    extra: () => ({ options: '-c log_statement=none' }),
    code: 'SETTING_REFUSED',
    hint: /may set it/,
  },
  'no TLS on the server': { to: { login: 'trusted', host: 'plain' }, code: 'TLS_NOT_OFFERED', hint: /ssl/ },
  'no server at the port': { to: { login: 'trusted', host: 'nothing' }, code: 'CONNECT_REFUSED', hint: /port/ },
  'another program at the port': {
    to: { login: 'trusted', host: 'http' },
    extra: () => ({ sslmode: 'disable' }),
    code: 'NOT_POSTGRES',
    hint: /port/,
  },
  'a name without an address': {
    to: { login: 'trusted', host: 'nowhere.invalid' },
    extra: () => ({ hostaddr: undefined }),
    code: 'DNS_NOT_FOUND',
    hint: /host|name/i,
  },
  'a certificate of another authority': {
    extra: () => ({ sslmode: 'verify-full', sslrootcert: files['other-ca.pem'] }),
    code: 'TLS_UNTRUSTED',
    hint: /Set sslrootcert/,
  },
  'a certificate of another host': {
    to: { login: 'trusted', host: 'other.test' },
    extra: () => ({ sslmode: 'verify-full', sslrootcert: files['ca.pem'] }),
    code: 'TLS_HOSTNAME_MISMATCH',
    hint: /name/,
  },
  'a certificate that is revoked': {
    extra: () => ({ sslmode: 'verify-full', sslrootcert: files['ca.pem'], sslcrl: files['revoked.crl'] }),
    code: 'TLS_CERTIFICATE_REVOKED',
    hint: /administrator/,
  },
  'no file of authorities': {
    extra: () => ({ sslmode: 'verify-full', sslrootcert: join(folder, 'none.pem') }),
    code: 'CA_FILE_MISSING',
    hint: /Set sslrootcert/,
  },
  'an empty file of authorities': {
    extra: () => ({ sslmode: 'verify-full', sslrootcert: files['empty.pem'] }),
    code: 'CA_FILE_MALFORMED',
    hint: /BEGIN CERTIFICATE/,
  },
  'no client certificate file': {
    extra: () => ({ sslcert: join(folder, 'none.pem'), sslkey: files['client.key'] }),
    code: 'CERTIFICATE_FILE_MISSING',
    hint: /Set sslcert/,
  },
  'no key file': {
    extra: () => ({ sslcert: files['client.pem'], sslkey: join(folder, 'none.key') }),
    code: 'KEY_FILE_MISSING',
    hint: /Set sslkey/,
  },
  'a key that others may read': {
    extra: clientFiles('client.pem', 'open.key'),
    code: 'KEY_PERMISSIONS',
    hint: /chmod 0600/,
  },
  'a key of another certificate': {
    extra: clientFiles('client.pem', 'other.key'),
    code: 'KEY_MISMATCH',
    hint: /issued for/,
  },
  'no key in the key file': {
    extra: clientFiles('client.pem', 'empty.pem'),
    code: 'KEY_MALFORMED',
    hint: /PRIVATE KEY/,
  },
  'no certificate in the file': {
    extra: clientFiles('empty.pem', 'client.key'),
    code: 'CERTIFICATE_MALFORMED',
    hint: /client certificate comes first/,
  },
}

const told = new Map<string, string>()

async function bring({ to = { login: 'trusted' }, extra }: Fault): Promise<PoolsmithError> {
  const { host = '127.0.0.1', ...target } = to
  const place = { host, port: server.port, database: 'postgres', ...target }
  const options = { sslmode: 'require', hostaddr: '127.0.0.1', ...extra?.() }
  const attempt = (at: object, more: object = {}) =>
    openingError(
      driverFor({ ...place, ...at }, { ...options, ...more }).driver,
      passwordCredential('wrong'),
      AbortSignal.timeout(60_000),
    )
  if (host === 'plain') return attempt({ host: plain.host, port: plain.port })
  if (host === 'socket') return attempt({ host: server.socketDirectory }, { hostaddr: undefined })
  if (host === 'nothing') return attempt({ host: '127.0.0.1', port: await freePort() })
  if (host !== 'http') return attempt({})
  const http = createServer()
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  try {
    return await attempt({ host: '127.0.0.1', port: (http.address() as AddressInfo).port })
  } finally {
    http.close()
  }
}

describe('each fault is named and says what to do:', () => {
  for (const [name, fault] of Object.entries(FAULTS)) {
    test(name, async () => {
      const error = await bring(fault)
      assert.equal(error.code, fault.code, error.message)
      assert.match(error.hint ?? '', fault.hint, error.message)
      told.set(name, `${error.message} ${error.hint}`)
    })
  }

  test('no two of them are told alike', () => {
    const seen = new Map<string, string>()
    for (const [name, text] of told) {
      // Roles, paths and ports alone tell no two faults apart.
      const alike = text.replaceAll(/"[^"]*"|\/\S+|\d+/g, '…')
      assert.equal(seen.get(alike), undefined, `${name} is told as ${seen.get(alike)}: ${text}`)
      seen.set(alike, name)
    }
  })
})
