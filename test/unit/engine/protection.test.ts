/** Options of other drivers that protect a connection: each is understood or refused, and none is only warned about. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Dialect } from '../../../src/connections/connection.ts'
import { parseConnection } from '../../../src/connections/parse.ts'
import { configure } from '../../../src/engine/configure.ts'
import { ConfigError } from '../../../src/errors.ts'
import { strategies } from '../../../src/strategies/index.ts'

interface Told {
  readonly problems: readonly string[]
  readonly warnings: readonly string[]
  readonly sslmode?: unknown
}

async function told(type: Dialect, extra: Record<string, unknown>): Promise<Told> {
  const line = ({ path, message }: { path: string; message: string }): string => `${path}: ${message}`
  try {
    const connection = parseConnection({ type, host: 'db.test', login: 'etl', password: 'x', extra })
    const { settings, warnings } = await configure(connection, { registry: strategies, environment: {} })
    return { problems: [], warnings: warnings.map(line), sslmode: settings.all['sslmode'] }
  } catch (error) {
    assert.ok(error instanceof ConfigError, String(error))
    return { problems: error.problems.map(line), warnings: [] }
  }
}

/** The option of another driver, and what the error must name in its place. */
type Cases = readonly (readonly [key: string, value: unknown, instead: RegExp])[]

const POSTGRES: Cases = [
  // libpq, past and present
  ['requiressl', '1', /sslmode/],
  ['target_session_attrs', 'master', /expected one of any \| read-write/],
  ['service', 'sales', /where the connection itself names it/],
  ['scram_client_key', 'x', /password/],
  ['oauth_issuer', 'https://x', /auth_method/],
  // node-postgres, pg-connection-string, postgres.js
  ['ssl', { rejectUnauthorized: true, ca: '-----BEGIN CERTIFICATE-----' }, /sslmode=verify-full/],
  ['ssl', 'require', /sslmode/],
  ['ssl', 'no-verify', /sslmode/],
  ['ssl', false, /sslmode/],
  ['ssl', '', /sslmode/],
  ['sslmode', 'no-verify', /require/],
  ['uselibpqcompat', 'true', /sslmode/],
  ['enableChannelBinding', true, /channel_binding/],
  ['rejectUnauthorized', true, /sslmode=verify-full/],
  ['connectionString', 'postgres://x?sslmode=require', /extra|connection/],
  // JDBC
  ['sslfactory', 'org.postgresql.ssl.DefaultJavaSSLFactory', /sslmode/],
  ['sslhostnameverifier', 'x', /verify-full/],
  ['targetServerType', 'primary', /target_session_attrs/],
  ['channelBinding', 'require', /channel_binding/],
  ['requireAuth', 'scram-sha-256', /require_auth/],
  ['gssEncMode', 'require', /gssencmode/],
  ['readOnly', 'true', /default_transaction_read_only/],
  ['socketFactory', 'com.google.cloud.sql.postgres.SocketFactory', /proxy/],
  ['cloudSqlInstance', 'project:region:name', /proxy/],
  // psqlODBC
  ['pqopt', 'sslrootcert=system channel_binding=require', /under extra/],
  // Npgsql
  ['SSL Mode', 'VerifyFull', /sslmode/],
  ['Root Certificate', '/ca.pem', /sslrootcert/],
  ['Trust Server Certificate', 'false', /sslmode/],
  ['Check Certificate Revocation', 'true', /sslcrl/],
  ['SSL Certificate', '/c.pem', /sslcert/],
  ['SSL Key', '/c.key', /sslkey/],
  ['Require Auth', 'scram-sha-256', /require_auth/],
  ['Integrated Security', 'true', /auth_method=kerberos/],
  // mysql and MariaDB
  ['tls', 'true', /sslmode/],
  ['tls', 'skip-verify', /sslmode/],
  ['sslca', '/ca.pem', /sslrootcert/],
  ['ssl_ca', '/ca.pem', /sslrootcert/],
  ['ssl-capath', '/etc/ssl/certs', /sslrootcert/],
  ['ssl_verify_cert', 'true', /sslmode/],
  ['ssl_verify_identity', 'true', /verify-full/],
  ['ssl-cipher', 'AES256', /ssl_min_protocol_version/],
  ['tls_version', 'TLSv1.3', /ssl_min_protocol_version/],
  ['useSSL', 'true', /sslmode/],
  ['requireSSL', 'true', /sslmode/],
  ['verifyServerCertificate', 'true', /sslmode/],
  ['require_secure_transport', 'on', /sslmode/],
  // SQL Server, ODBC, other databases
  ['encrypt', 'true', /sslmode/],
  ['Encrypt', 'strict', /sslmode=verify-full/],
  ['encryption', 'required', /sslmode/],
  ['EncryptionMethod', '1', /sslmode/],
  ['ValidateServerCertificate', '1', /sslmode/],
  ['HostNameInCertificate', 'db.test', /host/],
  ['TrustStore', '/x.jks', /sslrootcert/],
  ['KeyStore', '/x.jks', /sslcert/],
  ['tlsCAFile', '/ca.pem', /sslrootcert/],
  ['tlsAllowInvalidCertificates', 'false', /sslmode/],
  ['ssl_cert_reqs', 'required', /sslmode/],
  ['ssl_check_hostname', 'true', /verify-full/],
  ['servername', 'db.test', /host/],
  ['minVersion', 'TLSv1.3', /ssl_min_protocol_version/],
  ['ca', '/ca.pem', /sslrootcert/],
  ['cert', '/c.pem', /sslcert/],
  ['pfx', '/c.pfx', /sslcert/],
  ['fingerprint', 'aa:bb', /sslrootcert/],
  ['company_tls_policy', 'strict', /protects/],
  // Nested, as SQLAlchemy, Sequelize and knex have them
  ['connect_args', { sslmode: 'verify-full' }, /extra/],
  ['dialectOptions', { ssl: { require: true } }, /extra/],
  ['connection', { ssl: true }, /extra/],
  // A list without items would mean no restriction.
  ['require_auth', ',', /at least one/],
  ['require_auth', [], /at least one/],
]

const SQLSERVER: Cases = [
  ['sslmode', 'verify-full', /encrypt/],
  ['ssl', 'true', /encrypt/],
  ['tls', 'true', /encrypt/],
  ['sslProtocol', 'TLSv1.3', /TLS/],
  ['Encryption', 'require', /encrypt/],
  ['trustStore', '/x.jks', /ca_file/],
  ['CAFile', '/ca.pem', /ca_file/],
  ['CheckCertHostname', 'yes', /host_name_in_certificate/],
  ['rejectUnauthorized', true, /trust_server_certificate/],
  ['cryptoCredentialsDetails', { minVersion: 'TLSv1.3' }, /encrypt/],
  ['socketFactoryClass', 'com.google.cloud.sql.sqlserver.SocketFactory', /proxy/],
  // go-mssqldb: without them another identity would log in
  ['authenticator', 'krb5', /auth_method/],
  ['keytabfile', '/etc/sales.keytab', /auth_method/],
  ['fedauth', 'ActiveDirectoryDefault', /azure_ad/],
  ['options', { encrypt: true, trustServerCertificate: false }, /extra/],
  ['fips', 'true', /encrypt/],
  ['ColumnEncryption', 'Enabled', /Always Encrypted/],
  ['columnEncryptionSetting', 'Enabled', /Always Encrypted/],
  ['enclaveAttestationProtocol', 'HGS', /Always Encrypted/],
  ['AttestationProtocol', 'VBS', /Always Encrypted/],
  ['keyStoreSecret', 'x', /Always Encrypted/],
  ['clientCertificate', '/c.pem', /auth_method/],
  ['authenticationScheme', 'JavaKerberos', /auth_method/],
  ['accessToken', 'x', /auth_method=azure_ad/],
  ['useNTLMv2', 'yes', /auth_method/],
  ['channel_binding', 'require', /encrypt/],
]

for (const [type, cases] of [
  ['postgres', POSTGRES],
  ['mssql', SQLSERVER],
] as const) {
  for (const [key, value, instead] of cases) {
    test(`${type}: ${key}=${JSON.stringify(value)} is an error that says what to write`, async () => {
      const { problems } = await told(type, { [key]: value })
      assert.equal(problems.length, 1, problems.join('\n'))
      assert.match(problems[0] ?? '', instead)
    })
  }
}

test('other unknown keys, and those that change nothing, stay warnings', async () => {
  const harmless = {
    cursor: 'dictcursor',
    'cluster-identifier': 'x',
    team: 'data',
    sslcompression: '0',
    gsslib: 'gssapi',
  }
  const { problems, warnings } = await told('postgres', harmless)
  assert.deepEqual(problems, [])
  assert.equal(warnings.length, Object.keys(harmless).length)
  const sqlserver = await told('mssql', {
    Driver: '{ODBC Driver 18 for SQL Server}',
    ColumnEncryption: 'Disabled',
    team: 'x',
  })
  assert.deepEqual(sqlserver.problems, [])
})

test('ssl=true is sslmode=require at the least, as in libpq', async () => {
  assert.deepEqual(await told('postgres', { ssl: 'true' }), { problems: [], warnings: [], sslmode: undefined })
  assert.equal((await told('postgres', { ssl: true, sslmode: 'verify-full' })).sslmode, 'verify-full')
  for (const sslmode of ['disable', 'allow', 'prefer']) {
    const { problems } = await told('postgres', { ssl: true, sslmode })
    assert.match(problems.join(), /^extra\.sslmode: .*ssl=true/)
  }
})

test('words of other drivers for sslmode are understood', async () => {
  const words = {
    DISABLED: 'disable',
    PREFERRED: 'prefer',
    REQUIRED: 'require',
    Require: 'require',
    VERIFY_CA: 'verify-ca',
    VerifyCA: 'verify-ca',
    VERIFY_IDENTITY: 'verify-full',
    VerifyFull: 'verify-full',
    verify_full: 'verify-full',
  }
  for (const [word, meant] of Object.entries(words)) {
    assert.deepEqual(await told('postgres', { sslmode: word }), { problems: [], warnings: [], sslmode: meant }, word)
  }
})
