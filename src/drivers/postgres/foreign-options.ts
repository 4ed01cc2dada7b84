/** Options of libpq and of other drivers that have another name here, or none: what an error says to write instead. */

import { type ForeignOption, plainName } from '../../connections/fields.ts'

const MODE = 'write sslmode=verify-full (or require, which only encrypts)'
const VERIFY = 'write sslmode=verify-full, which checks certificate and host name, or verify-ca (the certificate alone)'
const ROOT = 'write sslrootcert=FILE with the trusted authorities in PEM, or sslrootcert=system'
const CERTIFICATE = 'write sslcert and sslkey, two files in PEM'
const VERSION = 'write ssl_min_protocol_version and ssl_max_protocol_version, which decide about ciphers too'
const TARGET = 'write target_session_attrs (any, read-write, read-only, primary, standby, prefer-standby)'
const NAME = 'the certificate is checked against host; give its name there, and the address in hostaddr'

/** The same advice for many names, which are compared without case and separators. */
const ADVICE: readonly (readonly [advice: string, names: string])[] = [
  [MODE, 'tls usessl requiressl requiretls directtls secure encrypt encryption encryptionmethod uselibpqcompat'],
  [MODE, 'requiresecuretransport sslrequired sslenabled enablessl enabletls sslfactory'],
  [VERIFY, 'rejectunauthorized trustservercertificate validateservercertificate verifyservercertificate verify'],
  [VERIFY, 'sslverify sslverifycert sslverifyidentity sslcertreqs sslcheckhostname sslhostnameverifier'],
  [VERIFY, 'checkserveridentity tlsinsecure tlsallowinvalidcertificates tlsallowinvalidhostnames'],
  [ROOT, 'ca cafile capath cabundle sslca sslcapath sslcafile sslcacerts tlsca tlscafile rootca rootcertificate'],
  [ROOT, 'serversslcert servercertificate truststore truststorefile fingerprint'],
  [CERTIFICATE, 'cert certificate certfile sslcertificate clientcertificate clientcert tlscertificatekeyfile'],
  [CERTIFICATE, 'key keyfile sslclientkey clientkey pfx pkcs12 keystore keystorefile'],
  [
    VERSION,
    'minversion maxversion tlsversion tlsversions sslprotocol sslprotocols secureprotocol cryptoprotocolversion',
  ],
  [VERSION, 'ciphers sslcipher sslciphers tlscipher tlsciphers tlsciphersuites'],
  ['write sslcrl=FILE', 'checkcertificaterevocation crl sslcrlfile crlfile tlscrlfile'],
  ['write channel_binding=require', 'enablechannelbinding'],
  ['write auth_method=kerberos', 'integratedsecurity trustedconnection'],
  [TARGET, 'targetsessionattributes targetservertype'],
  ['write options=-c default_transaction_read_only=on', 'readonly readonlymode'],
  ['write options=-c search_path=NAME', 'schema searchpath currentschema'],
  [NAME, 'servername hostnameincertificate tlsservername'],
  ['is read where the connection itself names it; write it there', 'service servicefile'],
  ['write auth_method=iam', 'iam useiam awsiam enableiam iamauth'],
  [
    'is a connection of Airflow, which is not read; write aws_profile, role_arn, or aws_access_key_id and aws_secret_access_key',
    'awsconnid',
  ],
  ['is not known here; write the password, which is never sent in a SCRAM login', 'scramclientkey scramserverkey'],
  ['is not known here; choose a strategy with auth_method', 'oauthissuer oauthclientid oauthclientsecret oauthscope'],
  ['is not read; write its parts into the connection and its options under extra', 'connectionstring dsn url uri'],
  ['is not read; write its options under extra', 'pqopt'],
  [
    'is code of another driver, which is not run here; connect to the address of the database, or of a proxy on this machine',
    'socketfactory socketfactoryarg cloudsqlinstance',
  ],
]

const REFUSED = new Map(
  ADVICE.flatMap(([advice, names]) => names.split(' ').map((name): [string, string] => [name, advice])),
)

const IGNORED = new Map([
  ['pgbouncer', 'has a meaning for Prisma only; ignored'],
  ['statementcachesize', 'has a meaning for Prisma only; ignored'],
  ['sslcompression', 'TLS is never compressed; ignored'],
  ['sslkeylogfile', 'the keys of TLS are never written to a file; ignored'],
  ['keepalivesinterval', 'is not supported, because Node.js sets it for all sockets; ignored'],
  ['keepalivescount', 'is not supported, because Node.js sets it for all sockets; ignored'],
  [
    'tcpusertimeout',
    'is not supported: unacknowledged bytes end a session after 30 to 40 s on Linux (see keepalives); ignored',
  ],
  ['gsslib', 'there is one library for GSSAPI; ignored'],
])

/** The message for an option that this driver does not have. */
export function foreignPostgresOption(key: string, value: unknown): ForeignOption | undefined {
  const name = plainName(key)
  if (name === 'schema' && value === 'public') return { ignored: 'is the default of the server; ignored' }
  const refused = REFUSED.get(name)
  if (refused !== undefined) return { refused }
  const ignored = IGNORED.get(name)
  return ignored === undefined ? undefined : { ignored }
}
