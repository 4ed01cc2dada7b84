/**
 * Options of other drivers that have another name here, or none: what an error says to write instead. The names that
 * are translated are in ado-names.ts.
 */

import { type ForeignOption, plainName } from '../../connections/fields.ts'

const ENCRYPT = 'write encrypt=true, or encrypt=strict for TLS before anything else'
const VERIFY =
  'write trust_server_certificate=false, which is the default, and host_name_in_certificate where it differs'
const AUTHORITIES = 'write ca_file=FILE with the trusted authorities in PEM, or ca_file=system'
const VERSION = 'is decided between TLS 1.2 and 1.3 with the server; write encrypt=strict for TDS 8.0'
const METHOD = 'choose the login with auth_method (docs/sqlserver.md)'
const ALWAYS_ENCRYPTED = 'Always Encrypted is not supported; such columns can be read as ciphertext only'

/** The same advice for many names, which are compared without case and separators. */
const ADVICE: readonly (readonly [advice: string, names: string])[] = [
  [ENCRYPT, 'ssl sslmode tls usessl requiressl requiretls secure encryption encryptionmethod fips channelbinding'],
  [ENCRYPT, 'cryptocredentialsdetails secureprotocol gssencmode'],
  [VERIFY, 'rejectunauthorized validateservercertificate verifyservercertificate verify sslverify tlsinsecure'],
  [VERIFY, 'checkcerthostname checkserveridentity sslcheckhostname tlsallowinvalidcertificates'],
  [AUTHORITIES, 'ca cafile capath cabundle sslca tlsca tlscafile rootcertificate truststore truststoretype'],
  [AUTHORITIES, 'truststorepassword trustmanagerclass trustmanagerconstructorarg'],
  [VERSION, 'sslprotocol tlsversion minversion maxversion ciphers'],
  [METHOD, 'clientcertificate clientkey clientkeypassword authenticationscheme authenticationservice usentlmv2'],
  [METHOD, 'jaasconfigurationname gsscredential usedefaultgsscredential'],
  [METHOD, 'authenticator keytabfile'],
  ['write auth_method=azure_ad (docs/sqlserver.md)', 'accesstoken accesstokencallbackclass fedauth'],
  [
    'is code of another driver, which is not run here; connect to the address of the database, or of a proxy on this machine',
    'socketfactoryclass socketfactoryconstructorarg cloudsqlinstance',
  ],
  ['is not read; write its parts into the connection and its options under extra', 'connectionstring url uri'],
  [ALWAYS_ENCRYPTED, 'enclaveattestationprotocol enclaveattestationurl attestationprotocol'],
  [ALWAYS_ENCRYPTED, 'keystoreauthentication keystorelocation keystoreprincipalid keystoresecret'],
]

const REFUSED = new Map(
  ADVICE.flatMap(([advice, names]) => names.split(' ').map((name): [string, string] => [name, advice])),
)

/** The message about an option that this driver does not have. */
export function foreignSqlServerOption(key: string, value: unknown): ForeignOption | undefined {
  const name = plainName(key)
  if (name === 'columnencryption' || name === 'columnencryptionsetting') {
    return String(value).toLowerCase() === 'disabled'
      ? { ignored: 'is off here in every case; ignored' }
      : { refused: ALWAYS_ENCRYPTED }
  }
  const refused = REFUSED.get(name)
  return refused === undefined ? undefined : { refused }
}
