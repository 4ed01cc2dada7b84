import type { ErrorCode } from '../errors.ts'

/**
 * From the status codes of GSSAPI and krb5 to our own error codes: the one table.
 *
 * A GSSAPI call reports a major status (RFC 2743 1.2.1.1, RFC 2744 3.9.1) and a minor one, which under the krb5
 * mechanism is krb5's own code (krb5.h, `KRB5…`) or, for a positive number below 200, the system's errno.
 */

/** The call that failed; the same number can mean different things in different calls. */
export type KerberosCall =
  /** `gss_acquire_cred`, `gss_inquire_cred` */
  | 'acquire'
  | 'inquire'
  /** `gss_init_sec_context` */
  | 'init'
  /** `gss_init_sec_context`, with the server's token. */
  | 'reply'
  /** `gss_wrap`, `gss_unwrap` */
  | 'message'
  /** Reading a cache through libkrb5. */
  | 'read-cache'
  /** Storing tickets in a cache. */
  | 'write-cache'
  | 'read-keytab'
  /** A first ticket from a keytab (AS exchange). */
  | 'obtain'
  /** The same by a password. */
  | 'sign-in'
  /** Renewal of a ticket (TGS exchange). */
  | 'renew'
  /** A new key (RFC 3244), and what is derived from it. */
  | 'change-key'

interface Row {
  readonly code: ErrorCode
  /** krb5's codes, or errno. */
  readonly minor?: readonly number[]
  /** Routine errors of GSSAPI, for a minor code without meaning. */
  readonly major?: readonly number[]
  /** Only in these calls. Default: in all. */
  readonly calls?: readonly KerberosCall[]
}

const ENOENT = 2
const EIO = 5
const EACCES = 13
const EROFS = 30
const ENOSPC = 28
const EPERM = 1
const EISDIR = 21

const keytabCalls: readonly KerberosCall[] = ['read-keytab', 'obtain']
const gssCalls: readonly KerberosCall[] = ['acquire', 'inquire', 'init', 'reply']

/** The first row that fits counts: rows with `calls` stand before the general ones with the same number. */
const ROWS: readonly Row[] = [
  // The ticket was checked just before, so that its times are wrong by the server's clock.
  { code: 'CLOCK_SKEW', minor: [-1765328351], calls: ['reply'] },
  { code: 'KEYTAB_MISSING', minor: [ENOENT], calls: keytabCalls },
  { code: 'KEYTAB_UNREADABLE', minor: [EACCES, EPERM], calls: keytabCalls },
  { code: 'KEYTAB_CORRUPT', minor: [-1765328171, -1765328149, -1765328202, EIO, EISDIR], calls: keytabCalls },
  { code: 'KEYTAB_CORRUPT', minor: [-1765328204, -1765328205, -1765328200], calls: keytabCalls },
  { code: 'KEYTAB_WITHOUT_PRINCIPAL', minor: [-1765328203, -1765328154] },
  { code: 'KEYTAB_REFUSED', minor: [-1765328360, -1765328353], calls: ['obtain'] },
  { code: 'KEYTAB_REFUSED', minor: [-1765328380], calls: ['obtain'] },
  // KRB5KDC_ERR_PREAUTH_FAILED; the KDC's answer cannot be decrypted, where it asks for no proof first
  { code: 'CREDENTIAL_REFUSED', minor: [-1765328360, -1765328353], calls: ['sign-in'] },
  // KRB5KDC_ERR_KEY_EXP
  { code: 'LOGIN_PASSWORD_CHANGE', minor: [-1765328361] },
  // KRB5KDC_ERR_PREAUTH_REQUIRED, KRB5_PREAUTH_BAD_TYPE, KRB5_PREAUTH_FAILED: no method of the KDC's can be used
  { code: 'PREAUTH_UNSUPPORTED', minor: [-1765328359, -1765328176, -1765328174] },

  {
    code: 'TICKET_CACHE_NOT_WRITABLE',
    minor: [-1765328187, -1765328191, -1765328138, -1765328190, -1765328189, EACCES, EPERM, EROFS, ENOSPC, ENOENT],
    calls: ['write-cache'],
  },
  // "No Kerberos credentials available" is about the default cache; a named cache is reported by its file.
  { code: 'TICKET_MISSING', minor: [-1765328243], calls: gssCalls },
  {
    code: 'TICKET_CACHE_MISSING',
    minor: [-1765328189, -1765328243, -1750600188, ENOENT],
    calls: [...gssCalls, 'read-cache', 'renew'],
  },
  {
    code: 'TICKET_CACHE_UNREADABLE',
    minor: [-1765328190, -1765328191, EACCES, EPERM],
    calls: [...gssCalls, 'read-cache', 'renew'],
  },
  { code: 'TICKET_CACHE_EMPTY', minor: [-1765328185, -1765328242] },
  { code: 'TICKET_CACHE_CORRUPT', minor: [-1765328172, EISDIR] },
  { code: 'TICKET_CACHE_TYPE_UNKNOWN', minor: [-1765328244, -1765328245, -1750600187, -1750600186, -1750600185] },
  // KRB5_KCM_…: the daemon cannot be reached, or its answer cannot be read.
  { code: 'TICKET_CACHE_DAEMON_MISSING', minor: [-1750600184, -1750600183, -1750600182, -1750600181] },
  { code: 'TICKET_PRINCIPAL_MISMATCH', minor: [39756032, -1765328238] },

  { code: 'TICKET_REFUSED', minor: [-1765328353, -1765328343, -1765328239], calls: ['init', 'reply', 'renew'] },
  // A TGT past its renewable life is "expired" too, but it is the renewal that fails.
  { code: 'TICKET_NOT_RENEWABLE', minor: [-1765328371, -1765328352, -1765328372], calls: ['renew'] },
  { code: 'TICKET_EXPIRED', minor: [-1765328352] },
  { code: 'TICKET_NOT_YET_VALID', minor: [-1765328351] },
  { code: 'KDC_UNREACHABLE', minor: [-1765328228] },
  { code: 'REALM_UNKNOWN', minor: [-1765328230, -1765328316, -1765328164, -1765328167] },
  { code: 'SPN_UNKNOWN', minor: [-1765328377, -1765328362, -1765328365, -1765328382] },
  { code: 'PRINCIPAL_MALFORMED', minor: [-1765328250, -1765328251] },
  { code: 'PRINCIPAL_UNKNOWN', minor: [-1765328378] },
  { code: 'PRINCIPAL_REFUSED', minor: [-1765328383, -1765328366, -1765328363, -1765328372] },
  { code: 'CLOCK_SKEW', minor: [-1765328347, -1765328236] },
  {
    code: 'ENCRYPTION_TYPE_REFUSED',
    minor: [-1765328370, -1765328234, -1765328232, -1765328196, -1765328148, -1765328147],
  },
  {
    code: 'KRB5_CONFIG_INVALID',
    minor: [-1765328249, -1765328248, -1765328160, ...range(-1429577728, -1429577692)],
  },
  {
    code: 'GSS_SERVER_REFUSED',
    // KRB_AP_ERR_BADKEYVER, _NOKEY, _NOT_US, _MUT_FAIL, _REPEAT; mutual authentication failed
    minor: [-1765328340, -1765328339, -1765328349, -1765328338, -1765328350, -1765328226],
    calls: ['init', 'reply'],
  },

  { code: 'TICKET_EXPIRED', major: [11, 12] },
  { code: 'TICKET_MISSING', major: [7], calls: ['acquire', 'inquire'] },
  // 0: a calling error, which an empty message gives.
  { code: 'GSS_MESSAGE_DAMAGED', major: [0, 6, 9], calls: ['message'] },
  { code: 'GSS_SERVER_REFUSED', major: [6, 9], calls: ['init', 'reply'] },
]

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index)
}

export interface NativeStatus {
  readonly call: KerberosCall
  /** GSSAPI's major status; absent for a call of libkrb5. */
  readonly major?: number
  /** The minor status, or krb5's own code. Signed. */
  readonly minor: number
  /** The library's own words. */
  readonly text: string
}

/** Under SPNEGO and for doubled codes MIT hands out numbers of its own from here on, which only the words distinguish. */
const FIRST_MAPPED_MINOR = 100_001

/** The words of the codes that the mapping may hide (krb5's error tables). */
const WORDS: readonly (readonly [words: string, minor: number])[] = [
  ['no kerberos credentials available', -1765328243],
  ['no credentials cache found', -1765328189],
  ['credentials cache permissions incorrect', -1765328190],
  ['bad format in credentials cache', -1765328185],
  ['unsupported credentials cache format version', -1765328172],
  ['unknown credential cache type', -1765328244],
  ['does not match desired name', 39756032],
  ['ticket expired', -1765328352],
  ['cannot contact any kdc', -1765328228],
  ['server not found in kerberos database', -1765328377],
  ['cannot find kdc for', -1765328230],
  ['clock skew too great', -1765328347],
]

/** The error code for a status; `GSS_FAILED` when the table does not know it. */
export function codeOf(status: NativeStatus): ErrorCode {
  const text = status.text.toLowerCase()
  // A missing KCM daemon has the code of "no credentials available"; only the words differ. (`KCM:` also names caches.)
  if (text.includes('no kcm server')) return 'TICKET_CACHE_DAEMON_MISSING'
  const minor =
    status.minor >= FIRST_MAPPED_MINOR && status.minor < FIRST_MAPPED_MINOR + 1000
      ? (WORDS.find(([words]) => text.includes(words))?.[1] ?? status.minor)
      : status.minor
  const routineError = status.major === undefined ? 0 : (status.major >>> 16) & 0xff
  const row = ROWS.find(
    ({ calls, minor: minors, major: majors }) =>
      (calls === undefined || calls.includes(status.call)) &&
      (minors?.includes(minor) || majors?.includes(routineError) || false),
  )
  return row?.code ?? 'GSS_FAILED'
}
