import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseFields } from '../../../../src/connections/fields.ts'
import { normaliseMssqlExtras } from '../../../../src/drivers/sqlserver/ado-names.ts'
import { sqlServerFields } from '../../../../src/drivers/sqlserver/options.ts'
import { Secret } from '../../../../src/secret.ts'

const extraOf = (extra: Record<string, unknown>): Readonly<Record<string, unknown>> =>
  normaliseMssqlExtras({ extra }).record.extra

describe("Microsoft's spellings", () => {
  test('of encryption', () => {
    const values: [unknown, string][] = [
      ['yes', 'true'],
      ['Mandatory', 'true'],
      [true, 'true'],
      ['True', 'true'],
      ['no', 'false'],
      ['Optional', 'false'],
      [false, 'false'],
      ['Strict', 'strict'],
      ['strict', 'strict'],
    ]
    for (const [given, meant] of values) assert.deepEqual(extraOf({ Encrypt: given }), { encrypt: meant })
    // The field complains about any other value.
    assert.deepEqual(extraOf({ encrypt: 'perhaps' }), { encrypt: 'perhaps' })
  })

  test('of the other options, in any case and with spaces', () => {
    const extra = extraOf({
      TrustServerCertificate: 'yes',
      HostNameInCertificate: 'db.example.com',
      'Server Certificate': '/etc/db.cer',
      ApplicationIntent: 'readonly',
      MultiSubnetFailover: 'Yes',
      'Connect Timeout': 30,
      'Command Timeout': 5,
      'Packet Size': 8000,
      'Application Name': 'etl',
      WSID: 'worker',
      ServerSPN: 'MSSQLSvc/x:1433',
    })
    assert.deepEqual(extra, {
      trust_server_certificate: 'yes',
      host_name_in_certificate: 'db.example.com',
      server_certificate: '/etc/db.cer',
      application_intent: 'ReadOnly',
      multi_subnet_failover: 'Yes',
      connect_timeout: 30,
      request_timeout: 5,
      packet_size: 8000,
      application_name: 'etl',
      workstation_id: 'worker',
      mssql_spn: 'MSSQLSvc/x:1433',
    })
    const { values, problems, warnings } = parseFields(sqlServerFields, extra, { strict: true })
    assert.deepEqual([problems, warnings], [[], []])
    assert.deepEqual(
      [values.trust_server_certificate, values.multi_subnet_failover, values.connect_timeout],
      [true, true, 30],
    )
  })

  test('of the server', () => {
    const servers: [string, object][] = [
      ['tcp:db.example.com,1444', { host: 'db.example.com', port: 1444, extra: {} }],
      ['db\\SALES', { host: 'db', extra: { instance_name: 'SALES' } }],
      ['db\\SALES,1444', { host: 'db', port: 1444, extra: {} }],
      ['db\\MSSQLSERVER', { host: 'db', extra: {} }],
      ['.', { host: 'localhost', extra: {} }],
      ['(local)', { host: 'localhost', extra: {} }],
      ['2001:db8::1', { host: '2001:db8::1', extra: {} }],
      ['tcp:[2001:db8::1],1444', { host: '2001:db8::1', port: 1444, extra: {} }],
      ['db \\ SALES , 1444', { host: 'db', port: 1444, extra: {} }],
    ]
    for (const [server, meant] of servers) {
      assert.deepEqual(normaliseMssqlExtras({ extra: { Server: server } }).record, meant)
    }
    const { record } = normaliseMssqlExtras({
      host: 'own',
      extra: { 'Data Source': 'other', 'Initial Catalog': 'sales', UID: 'bob', PWD: 'pw' },
    })
    assert.deepEqual([record.host, record.database, record.login], ['own', 'sales', 'bob'])
    assert.ok(record.password?.equals(new Secret('pw')))
    assert.deepEqual(record.extra, {})
  })

  test("of the server where the record's own host belongs", () => {
    const hosts: [string, object][] = [
      ['db\\SALES', { host: 'db', extra: { instance_name: 'SALES' } }],
      ['tcp:db,1444', { host: 'db', port: 1444, extra: {} }],
      ['(local)', { host: 'localhost', extra: {} }],
      ['db.example.com', { host: 'db.example.com', extra: {} }],
    ]
    for (const [host, meant] of hosts) assert.deepEqual(normaliseMssqlExtras({ host, extra: {} }).record, meant)
    const both = normaliseMssqlExtras({ host: 'db\\SALES', port: 1444, extra: { Server: 'other' } })
    assert.deepEqual(both, {
      record: { host: 'db', port: 1444, extra: { instance_name: 'SALES' } },
      notes: [],
      problems: [],
    })
    for (const [host, port] of [
      ['db,1444', 1433],
      ['np:db', undefined],
      ['\\\\db\\pipe', undefined],
    ] as const) {
      const { problems } = normaliseMssqlExtras({ host, ...(port === undefined ? {} : { port }), extra: {} })
      assert.deepEqual(
        problems.map(({ path }) => path),
        ['host'],
        host,
      )
    }
  })

  test('of a server that cannot be read lead nowhere, least of all to this machine', () => {
    const servers = ['db:1433', 'db,abc', 'db,0', 'db,70000', 'a,b,c', ',1433', '\\SALES', 'db SALES']
    for (const server of [...servers, 'np:db', 'lpc:db', 'admin:db', '\\\\db\\pipe\\sql\\query', '(localdb)\\v11']) {
      const { record, problems } = normaliseMssqlExtras({ extra: { Server: server } })
      assert.deepEqual(record, { extra: {} }, server)
      assert.deepEqual(
        problems.map(({ path }) => path),
        ['extra.Server'],
        server,
      )
    }
    assert.match(normaliseMssqlExtras({ extra: { Server: 'db:1433' } }).problems[0]?.message ?? '', /behind a comma/)
  })

  test('of a server do not lend their port to another one', () => {
    const extra = { Server: 'other\\SALES' }
    assert.deepEqual(normaliseMssqlExtras({ host: 'own', extra }).record, { host: 'own', extra: {} })
    assert.deepEqual(normaliseMssqlExtras({ host: 'own', extra: { Server: 'other,1444' } }).record, {
      host: 'own',
      extra: {},
    })
    // The options of the caller come before the record.
    assert.deepEqual(
      normaliseMssqlExtras({ host: 'own', login: 'a', extra: { Server: 'new', UID: 'b' } }, { extrasFirst: true })
        .record,
      { host: 'new', login: 'b', extra: {} },
    )
  })

  test('of JDBC alone', () => {
    assert.equal(normaliseMssqlExtras({ extra: { serverName: 'db', portNumber: '1444' } }).record.port, 1444)
    assert.equal(normaliseMssqlExtras({ extra: { portNumber: 'x' } }).problems[0]?.path, 'extra.portNumber')
    assert.equal(extraOf({ Authentication: 'ActiveDirectoryMSI', msiClientId: 'id' }).managed_identity_client_id, 'id')
  })

  test('of two logins at once are a problem', () => {
    const pairs = [
      { Authentication: 'ActiveDirectoryIntegrated', Trusted_Connection: 'yes' },
      { Authentication: 'SqlPassword', auth_method: 'kerberos' },
      { Authentication: 'ActiveDirectoryMsi', azure_credential: 'interactive' },
      { Server: 'a', 'Data Source': 'b' },
      { UID: 'a', User: 'b' },
    ]
    for (const extra of pairs) assert.equal(normaliseMssqlExtras({ extra }).problems.length, 1, JSON.stringify(extra))
    for (const extra of [
      { Authentication: 'SqlPassword', auth_method: 'password' },
      { Authentication: 'ActiveDirectoryMsi', auth_method: 'azure_ad', azure_credential: 'managed_identity' },
    ]) {
      assert.deepEqual(normaliseMssqlExtras({ extra }).problems, [])
    }
  })

  test('of the login choose the strategy', () => {
    assert.deepEqual(extraOf({ Trusted_Connection: 'yes' }), { auth_method: 'kerberos' })
    assert.deepEqual(extraOf({ 'Integrated Security': 'SSPI' }), { auth_method: 'kerberos' })
    assert.deepEqual(extraOf({ Trusted_Connection: 'no' }), {})
    assert.deepEqual(extraOf({ Authentication: 'SqlPassword' }), { auth_method: 'sql_auth' })
    assert.deepEqual(extraOf({ Authentication: 'ActiveDirectoryDefault' }), {
      auth_method: 'azure_ad',
      azure_credential: 'default',
    })
    assert.deepEqual(extraOf({ Authentication: 'Active Directory Default', UID: 'id' }), {
      auth_method: 'azure_ad',
      azure_credential: 'default',
      managed_identity_client_id: 'id',
      client_id: 'id',
    })
    const principal = normaliseMssqlExtras({
      login: 'client',
      password: new Secret('hidden'),
      extra: { Authentication: 'Active Directory Service Principal', tenant_id: 't' },
    })
    const { client_secret, ...rest } = principal.record.extra
    assert.deepEqual(rest, {
      auth_method: 'azure_ad',
      azure_credential: 'service_principal',
      client_id: 'client',
      tenant_id: 't',
    })
    assert.ok((client_secret as Secret).equals(new Secret('hidden')))
    assert.deepEqual(
      normaliseMssqlExtras({ login: 'id', extra: { Authentication: 'ActiveDirectoryMsi' } }).record.extra,
      {
        auth_method: 'azure_ad',
        azure_credential: 'managed_identity',
        managed_identity_client_id: 'id',
      },
    )
    for (const [word, advice] of [['Active Directory Telepathy', /ActiveDirectoryServicePrincipal/]] as const) {
      // Not taken for something else that would log in as somebody else.
      const { record, problems } = normaliseMssqlExtras({ extra: { Authentication: word } })
      assert.deepEqual(record.extra, {})
      assert.match(problems[0]?.message ?? '', advice)
    }
    for (const [word, azure_credential] of [
      ['ActiveDirectoryIntegrated', 'integrated'],
      ['ActiveDirectoryPassword', 'password'],
      ['ActiveDirectoryInteractive', 'interactive'],
      ['Active Directory Device Code Flow', 'device_code'],
    ]) {
      const person = normaliseMssqlExtras({ login: 'a@b', extra: { Authentication: word } }).record
      assert.equal(person.login, 'a@b')
      assert.deepEqual(person.extra, { auth_method: 'azure_ad', azure_credential })
    }
  })

  test('that only a driver of theirs knows are ignored with a note', () => {
    const { record, notes, problems } = normaliseMssqlExtras({
      extra: {
        driver: 'ODBC Driver 18 for SQL Server',
        MARS_Connection: 'yes',
        IpAddressPreference: 'IPv4First',
        QueryLogFile: '/tmp/log',
        encrypt: 'yes',
        own_key: 1,
      },
    })
    assert.deepEqual(record.extra, { encrypt: 'true', own_key: 1 })
    assert.deepEqual(
      notes.map((note) => note.path),
      ['extra.driver', 'extra.MARS_Connection', 'extra.IpAddressPreference', 'extra.QueryLogFile'],
    )
    assert.deepEqual(problems, [])
  })

  test('of trust mean nothing under strict, and that is said', () => {
    const { record, notes } = normaliseMssqlExtras({ extra: { Encrypt: 'Strict', TrustServerCertificate: 'yes' } })
    assert.deepEqual(record.extra, { encrypt: 'strict' })
    assert.deepEqual(
      notes.map(({ path }) => path),
      ['extra.TrustServerCertificate'],
    )
    // Our own name is a contradiction, for the check of the options to tell.
    assert.equal(extraOf({ encrypt: 'strict', trust_server_certificate: true }).trust_server_certificate, true)
  })

  test('without a value say nothing', () => {
    const { record, problems } = normaliseMssqlExtras({
      extra: { Server: '', Encrypt: '', PWD: '', Trusted_Connection: null, Authentication: '', sslmod: '' },
    })
    // Not one of ours: left for the field tables to complain about.
    assert.deepEqual(record, { extra: { sslmod: '' } })
    assert.deepEqual(problems, [])
  })

  test('that say one thing twice are a problem, and never show a secret', () => {
    const { problems } = normaliseMssqlExtras({ extra: { Encrypt: 'yes', encrypt: 'no', PWD: 's3cret' } })
    assert.equal(problems.length, 1)
    assert.ok(!JSON.stringify(problems).includes('s3cret'))
  })
})
