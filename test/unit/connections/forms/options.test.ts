/** The options of connection strings under our names, and what happens to those that have no meaning here. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { revealExtra } from '../../../../src/connections/extra.ts'
import { readConnection } from '../../../../src/connections/parse.ts'
import { configure } from '../../../../src/engine/configure.ts'
import { ConfigError } from '../../../../src/errors.ts'
import { strategies } from '../../../../src/strategies/index.ts'

interface Settled {
  readonly extra: Record<string, unknown>
  /** The paths of the keys that were left out. */
  readonly notes: readonly string[]
}

async function settled(text: string): Promise<Settled> {
  const { connection: read, problems, notes, closed } = readConnection(text)
  assert.ok(read, inspect(problems))
  const { connection, warnings } = await configure(read, { registry: strategies, environment: {}, closed })
  return { extra: revealExtra(connection.extra), notes: [...notes, ...warnings].map(({ path }) => path) }
}

async function problemsOf(text: string): Promise<string[]> {
  const { connection, problems, closed } = readConnection(text)
  if (connection === undefined) return problems.map(({ path, message }) => `${path}: ${message}`)
  try {
    await configure(connection, { registry: strategies, environment: {}, closed })
    return []
  } catch (error) {
    assert.ok(error instanceof ConfigError, inspect(error))
    return error.problems.map(({ path, message }) => `${path}: ${message}`)
  }
}

const READ: readonly [text: string, extra: Record<string, unknown>, notes?: readonly string[]][] = [
  ['host=db requiressl=1', { sslmode: 'require' }],
  ['host=db sslmode=verify-full sslrootcert=/etc/ca.pem', { sslmode: 'verify-full', sslrootcert: '/etc/ca.pem' }],
  [
    'host=db client_encoding=UTF8 gsslib=gssapi keepalives_count=3',
    { client_encoding: 'UTF8', gsslib: 'gssapi', keepalives_count: '3' },
    ['extra.gsslib', 'extra.keepalives_count'],
  ],
  ['host=db user=etl auth_method=iam region=eu-west-1', { auth_method: 'iam', region: 'eu-west-1' }],
  ["host=db options='-c search_path=a\\\\ b'", { options: '-c search_path=a\\ b' }],
  [
    'Data Source=db;Integrated Security=SSPI;Encrypt=Strict;Packet Size=8000;ApplicationIntent=ReadOnly',
    { auth_method: 'kerberos', encrypt: 'strict', packet_size: '8000', application_intent: 'ReadOnly' },
  ],
  [
    'Server=db;Trust Server Certificate=True;Multi Subnet Failover=True',
    { trust_server_certificate: 'True', multi_subnet_failover: 'True' },
  ],
  [
    'Server=db;Connect Timeout=7;Connection Timeout=9;Connect Retry Count=3',
    { connect_timeout: '9' },
    ['extra["Connect Retry Count"]'],
  ],
  [
    'Server=db;Authentication=Active Directory Managed Identity;User ID=0f1e',
    { auth_method: 'azure_ad', azure_credential: 'managed_identity', managed_identity_client_id: '0f1e' },
  ],
  [
    'Driver={ODBC Driver 18 for SQL Server};Server=db;Trusted_Connection=yes;Encrypt=Mandatory;ServerSPN=MSSQLSvc/db:1433',
    { auth_method: 'kerberos', encrypt: 'true', mssql_spn: 'MSSQLSvc/db:1433' },
  ],
  [
    'Server=db,1444;Failover Partner=db2,1445;Initial Catalog=s;Failover Partner SPN=MSSQLSvc/db2',
    { failover_partner: 'db2,1445', failover_partner_spn: 'MSSQLSvc/db2' },
  ],
  ['Driver={ODBC Driver 18 for SQL Server};Server=db;Failover_Partner=db2;Database=s', { failover_partner: 'db2' }],
  ['jdbc:sqlserver://db;failoverPartner=db2\\SALES;databaseName=s', { failover_partner: 'db2\\SALES' }],
  ['sqlserver://db?failoverpartner=db2&failoverport=1444&database=s', { failover_partner: 'db2,1444' }],
  ['Driver=/opt/microsoft/lib/libmsodbcsql-18.so;Server=db;MARS_Connection=yes', {}, ['extra.MARS_Connection']],
  [
    'jdbc:sqlserver://db;integratedSecurity=true;authenticationScheme=JavaKerberos;serverSpn=MSSQLSvc/db:1',
    { auth_method: 'kerberos', mssql_spn: 'MSSQLSvc/db:1' },
  ],
  [
    'jdbc:sqlserver://db;integratedSecurity=true;authenticationScheme=NTLM;domain=D;user=u;password=p',
    { auth_method: 'ntlm', domain: 'D' },
  ],
  ['jdbc:sqlserver://db;integratedSecurity=false;sendTimeAsDatetime=false', {}, ['extra.sendTimeAsDatetime']],
  ['jdbc:postgresql://db/s?ssl=true', { sslmode: 'verify-full' }],
  ['jdbc:postgresql://db/s?ssl=true&sslmode=require', { sslmode: 'require' }],
  [
    'jdbc:postgresql://db/s?ssl=false&ApplicationName=a+b&tcpKeepAlive=true',
    { application_name: 'a b', keepalives: 'true' },
  ],
  ['jdbc:postgresql://db/s?currentSchema=a,%22B%20c%22', { options: '-c search_path=a,"B\\ c"' }],
  ['jdbc:postgresql://db/s?options=-c%20x.y%3D1&currentSchema=a', { options: '-c x.y=1 -c search_path=a' }],
  [
    'jdbc:postgresql://db/s?prepareThreshold=0&targetServerType=any',
    { target_session_attrs: 'any' },
    ['extra.prepareThreshold'],
  ],
  [
    'jdbc:postgresql://a,b:5433/s?targetServerType=primary&hostRecheckSeconds=5',
    { target_session_attrs: 'read-write' },
    ['extra.hostRecheckSeconds'],
  ],
  [
    'jdbc:postgresql://a,b/s?targetServerType=preferSlave&loadBalanceHosts=true',
    { target_session_attrs: 'prefer-standby', load_balance_hosts: 'random' },
  ],
  [
    'jdbc:postgresql://a,b/s?targetServerType=secondary&loadBalanceHosts=false',
    { target_session_attrs: 'read-only' },
    ['extra.loadBalanceHosts'],
  ],
  ['sqlserver://db;trustServerCertificateCA=/etc/ca.pem;connectionLimit=4', { ca_file: '/etc/ca.pem', pool_size: '4' }],
  ['sqlserver://db;integratedSecurity=true', { auth_method: 'kerberos' }],
  [
    'sqlserver://db?app+name=my+app&dial+timeout=5&fedauth=ActiveDirectoryDefault',
    { application_name: 'my app', connect_timeout: '5', auth_method: 'azure_ad', azure_credential: 'default' },
  ],
  ['sqlserver://db?auth_method=kerberos&encrypt=strict', { auth_method: 'kerberos', encrypt: 'strict' }],
  [
    'postgresql+psycopg2://etl:p@db/s?sslmode=require&application_name=x',
    { sslmode: 'require', application_name: 'x' },
  ],
  ['postgresql+asyncpg://etl:p@db/s?ssl=verify-full', { sslmode: 'verify-full' }],
  [
    'mssql+pyodbc://etl:p@db/s?driver=ODBC+Driver+18+for+SQL+Server&TrustServerCertificate=yes',
    { trust_server_certificate: 'yes' },
  ],
  ['mssql+pyodbc://db/s?driver=ODBC+Driver+18+for+SQL+Server&Encrypt=no', { encrypt: 'false' }],
  ['mssql+pymssql://etl:p@db/s?charset=utf8', {}],
]

for (const [text, extra, notes = []] of READ) {
  test(`${text} is ${inspect(extra)}`, async () => assert.deepEqual(await settled(text), { extra, notes }))
}

const REFUSED: readonly [text: string, problem: RegExp][] = [
  ['host=db target_session_attrs=master', /^extra\.target_session_attrs: expected one of any/],
  ['host=db foo=bar', /^extra\.foo: unknown key$/],
  ['host=db client_encoding=LATIN1', /^extra\.client_encoding: expected one of UTF8/],
  ['host=db username=x', /^login: is written "username", which libpq refuses; write user$/],
  ['host=db PASSWORD=x', /^password: is written "PASSWORD"/],
  ['Host=db;Username=etl;Password=p', /^: its keys are those of Npgsql/],
  ['Server=db;Column Encryption Setting=Enabled', /Always Encrypted is not supported/],
  ['Server=db;UserID=etl', /^login: stands under a key that SqlClient does not know and refuses$/],
  ['Server=a;Data Source=b', /^host: is read differently: SqlClient takes the last of two values, ODBC the first/],
  ["Server=db;UID=etl;PWD='x y'", /^password: is read differently/],
  ['Server=db;UID=etl;PWD="x y"', /^password: is read differently: SqlClient takes quotes off/],
  ['Driver={FreeTDS};Server=db;UID=etl;PWD=p', /^extra\.driver: expected a driver of Microsoft/],
  ['DSN=sales;UID=etl;PWD=p', /^extra\.dsn: names a data source of this machine/],
  [
    'Driver={ODBC Driver 18 for SQL Server};Server=db;Application Name=x',
    /^extra: Application Name is dropped by ODBC/,
  ],
  ['jdbc:sqlserver://db;integratedSecurity=true;user=u;password=p', /^extra\.integratedSecurity: obtains a ticket/],
  ['jdbc:sqlserver://db;trustStore=/x.jks', /^extra\.trustStore: write ca_file=FILE/],
  ['jdbc:sqlserver://db;columnEncryption=Enabled', /Always Encrypted/],
  ['jdbc:postgresql://a,b/s?targetServerType=preferPrimary', /^extra\.targetServerType: expected any, primary,/],
  ['jdbc:postgresql://db/s?sslfactory=org.postgresql.ssl.NonValidatingFactory', /^extra\.sslfactory: write sslmode/],
  ['jdbc:postgresql://db/s?foo=bar', /^extra\.foo: unknown key$/],
  ['jdbc:postgresql://etl:hunter2@db/s', /^: an @ stands before the host/],
  ['jdbc:postgresql://a,b:c/s', /^: expected a host and a port in digits/],
  ['jdbc:postgresql://a,/s', /^host: the second of the list: is empty/],
  ['sqlserver://db/sales', /^database: is read differently: go-mssqldb reads the path as an instance/],
  ['sqlserver://etl:hunter2@db;database=x', /^login: is read differently/],
  ['postgresql+psycopg2://etl:p@db/my%20db', /^database: is read differently: SQLAlchemy leaves a %/],
  ['postgresql+psycopg9://etl:p@db/s', /^type: the driver behind the \+ is not one of psycopg,/],
  ['mssql+pyodbc://etl:p@sales', /^host: without driver=… it names a data source/],
  ['mssql+pyodbc://etl:p@db/s?driver=FreeTDS', /^extra\.driver: expected a driver of Microsoft/],
  ['mssql+pyodbc://db/s?odbc_connect=Server%3Dx', /^: odbc_connect stands for the whole connection/],
  ['postgres://db/s?schema=sales', /^extra\.schema: write options=-c search_path=/],
]

for (const [text, problem] of REFUSED) {
  test(`${text} is refused`, async () => {
    const problems = await problemsOf(text)
    assert.ok(
      problems.some((line) => problem.test(line)),
      inspect(problems),
    )
    assert.ok(!inspect(problems).includes('hunter2'))
  })
}
