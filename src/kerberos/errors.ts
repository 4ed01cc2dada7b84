import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
import { codeOf, type KerberosCall, type NativeStatus } from './status.ts'

/** The facts that an error names. The native libraries name few of them in their texts. */
export interface KerberosFacts {
  readonly principal?: string | undefined
  /** The cache's full name, `FILE:/tmp/krb5cc_1000`. */
  readonly cache?: string | undefined
  /** The principal of the cache, where that is another one. */
  readonly owner?: string | undefined
  readonly keytab?: string | undefined
  /** The principals in the keytab. */
  readonly keytabPrincipals?: readonly string[] | undefined
  /** The version of the newest key in the keytab for the principal. */
  readonly kvno?: number | undefined
  /** The service as it was asked for. */
  readonly spn?: string | undefined
  /** True when the server has reported the error, and not the KDC. */
  readonly fromServer?: boolean | undefined
  readonly realm?: string | undefined
  /** `127.0.0.1:88`, as krb5.conf names them. */
  readonly kdcs?: readonly string[] | undefined
  /** Milliseconds since the epoch. */
  readonly expiresAt?: number | undefined
  readonly minimumLifetimeSeconds?: number | undefined
}

interface Advice {
  readonly message: string
  readonly hint: string
}

const at = (millis: number | undefined): string =>
  millis === undefined ? '' : ` at ${new Date(millis).toISOString().replace('.000Z', 'Z')}`
const who = (facts: KerberosFacts): string => facts.principal ?? facts.owner ?? 'the client'
const cacheOf = (facts: KerberosFacts): string => facts.cache ?? 'the default ticket cache'
const fileOf = (cache: string | undefined): string => (cache ?? '').replace(/^(FILE|DIR):+/, '')
const keytabOf = (facts: KerberosFacts): string => facts.keytab ?? 'the default keytab'
const realmOf = (facts: KerberosFacts): string =>
  facts.realm ?? realmIn(facts.principal ?? facts.owner) ?? 'the default realm'
const kdcsOf = (facts: KerberosFacts): string =>
  facts.kdcs === undefined || facts.kdcs.length === 0 ? '' : ` (${facts.kdcs.join(', ')})`

/** The realm of `alice@EXAMPLE.COM`. A backslash quotes the character behind it. */
export function realmIn(principal: string | undefined): string | undefined {
  return principal === undefined ? undefined : /(?<!\\)@(.+)$/.exec(principal)?.[1]
}

/** The command that obtains a new ticket. */
function kinit(facts: KerberosFacts): string {
  const words = ['kinit']
  // No other process can fill a cache in this process' memory.
  if (facts.cache !== undefined && !facts.cache.startsWith('MEMORY:')) words.push('-c', facts.cache)
  if (facts.keytab !== undefined) words.push('-k', '-t', facts.keytab)
  const principal = facts.principal ?? facts.owner
  if (principal !== undefined) words.push(principal)
  return `\`${words.join(' ')}\``
}

const ADVICE: Partial<Record<ErrorCode, (facts: KerberosFacts) => Advice>> = {
  KRB5_CONFIG_INVALID: () => ({
    message: 'The Kerberos configuration cannot be used',
    hint: 'Check /etc/krb5.conf (or the file that KRB5_CONFIG names): it must be readable and well formed, with default_realm in [libdefaults]',
  }),
  TICKET_MISSING: (facts) => ({
    message: `There is no Kerberos ticket in ${cacheOf(facts)}`,
    hint: `Obtain one with ${kinit(facts)}, name the cache in \`ccache\`, or set \`keytab\``,
  }),
  TICKET_CACHE_MISSING: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} does not exist or holds no ticket for ${who(facts)}`,
    hint: `Check \`ccache\` and KRB5CCNAME (and that the volume is mounted), or fill it with ${kinit(facts)}`,
  }),
  TICKET_CACHE_UNREADABLE: (facts) => ({
    message: `This process (uid ${process.getuid?.() ?? 'unknown'}) may not read the ticket cache ${cacheOf(facts)}`,
    hint: facts.cache?.startsWith('KEYRING:')
      ? "Use a FILE cache (`ccache`, or default_ccache_name in krb5.conf): containers mostly forbid the kernel's keyrings, and not every kernel has persistent ones"
      : `Run \`ls -ln ${fileOf(facts.cache)}\`; then run this process under the uid of the owner, or let the updater name a common group`,
  }),
  TICKET_CACHE_EMPTY: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} is empty or cut short`,
    hint: `Fill it again with ${kinit(facts)}: its writer was interrupted, or the disk is full`,
  }),
  TICKET_CACHE_CORRUPT: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} is damaged, or is not a ticket cache`,
    hint: `Check that \`ccache\` names the right file, then fill it again with ${kinit(facts)}`,
  }),
  TICKET_CACHE_TYPE_UNKNOWN: (facts) => ({
    message: `krb5 does not know the type of the ticket cache ${cacheOf(facts)}`,
    hint: 'Write TYPE:name with the type FILE, DIR, KEYRING, MEMORY or KCM (KEYRING only where krb5 was built with it)',
  }),
  TICKET_CACHE_DAEMON_MISSING: (facts) => ({
    message: `The daemon that keeps ${cacheOf(facts)} does not answer`,
    hint: 'Start it (`systemctl start sssd-kcm.socket`), mount its socket into the container, or use a FILE cache',
  }),
  TICKET_CACHE_NOT_WRITABLE: (facts) => ({
    message: `A new ticket cannot be written to ${cacheOf(facts)}`,
    hint: 'Make the folder writable (mount the folder and not the single file), or leave out `ccache`, and the ticket stays in memory',
  }),
  TICKET_CACHE_NOT_TRUSTED: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} is left as it is`,
    hint:
      'Remove that file if nothing needs it; better, name a cache in a folder that only this user can write ' +
      '(`ccache`, KRB5CCNAME)',
  }),
  TICKET_CACHE_LOCKED: (facts) => ({
    message: `Another process kept ${cacheOf(facts)} locked`,
    hint: `Find that process with \`fuser ${fileOf(facts.cache)}.lock\`; it may be waiting for a KDC that does not answer`,
  }),
  TICKET_PRINCIPAL_MISMATCH: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} belongs to ${facts.owner ?? 'another principal'}, not to ${who(facts)}`,
    hint: `Give each principal a cache of its own, or fill this one with ${kinit(facts)}`,
  }),
  TICKET_EXPIRED: (facts) => ({
    message: `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} expired${at(facts.expiresAt)}`,
    hint: `Obtain a new one with ${kinit(facts)}, set \`keytab\`, or keep it alive with \`poolsmith ticket run\``,
  }),
  TICKET_EXPIRES_SOON: (facts) => ({
    message:
      `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} expires${at(facts.expiresAt)}, ` +
      `sooner than the ${facts.minimumLifetimeSeconds ?? 0} s of min_ticket_lifetime`,
    hint: `Obtain a new one with ${kinit(facts)}, set \`keytab\`, or lower min_ticket_lifetime`,
  }),
  TICKET_NOT_YET_VALID: (facts) => ({
    message: `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} is not valid yet`,
    hint: 'Compare the clocks of this machine and of the KDC (`timedatectl`, `chronyc tracking`)',
  }),
  TICKET_REFUSED: (facts) => ({
    message: `The ticket of ${who(facts)} in ${cacheOf(facts)} was not accepted${facts.spn === undefined ? '' : ` for ${facts.spn}`}`,
    hint: `Obtain a new one with ${kinit(facts)}, then export the server's keytab again: another KDC issued the ticket, or the keys of the realm or the server have changed since`,
  }),
  TICKET_NOT_RENEWABLE: (facts) => ({
    message: `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} cannot be renewed`,
    hint: 'Obtain a new one with `kinit -r 7d`, or set `keytab`; the principal and krbtgt need a maxrenewlife above zero',
  }),
  KEYTAB_MISSING: (facts) => ({
    message: `The keytab ${keytabOf(facts)} does not exist`,
    hint: 'Check `keytab` and KRB5_KTNAME, and that the secret or volume is mounted',
  }),
  KEYTAB_UNREADABLE: (facts) => ({
    message: `This process (uid ${process.getuid?.() ?? 'unknown'}) may not read the keytab ${keytabOf(facts)}`,
    hint: `Run \`ls -ln ${fileOf(facts.keytab)}\`: the file should have mode 0400 and belong to the user of this process`,
  }),
  KEYTAB_CORRUPT: (facts) => ({
    message: `${keytabOf(facts)} is not a keytab, or is damaged`,
    hint:
      `Run \`klist -k ${fileOf(facts.keytab)}\`: a keytab is binary and must not pass through a text field unencoded, ` +
      'and a container has an empty directory where the file to be mounted is missing',
  }),
  KEYTAB_WITHOUT_PRINCIPAL: (facts) => ({
    message:
      `The keytab ${keytabOf(facts)} holds no usable key for ${who(facts)}` +
      (facts.keytabPrincipals === undefined || facts.keytabPrincipals.length === 0
        ? ''
        : `; it holds ${facts.keytabPrincipals.join(', ')}`),
    hint: 'Correct `principal` (upper and lower case differ), or export the keytab for it',
  }),
  KEYTAB_REFUSED: (facts) => ({
    message:
      `The KDC of ${realmOf(facts)} does not accept the key of ${who(facts)} in ${keytabOf(facts)}` +
      (facts.kvno === undefined ? '' : `; its newest key has the kvno ${facts.kvno}`),
    hint: `Export the keytab again: the key has changed since it was written. Compare \`klist -kt ${fileOf(facts.keytab)}\` with \`kvno ${who(facts)}\`, which needs a ticket`,
  }),
  PRINCIPAL_MALFORMED: (facts) => ({
    message: `${facts.spn ?? facts.principal ?? 'The name of a principal'} is not written as a principal`,
    hint: 'Write name@REALM or service/host@REALM, with a backslash before an @, / or \\ that belongs to a name',
  }),
  PRINCIPAL_UNKNOWN: (facts) => ({
    message: `The Kerberos database of ${realmOf(facts)} does not know ${who(facts)}`,
    hint: 'Check the spelling (upper and lower case differ) and the realm of `principal`',
  }),
  PRINCIPAL_REFUSED: (facts) => ({
    message: `The KDC of ${realmOf(facts)} refuses ${who(facts)}`,
    hint: "Ask the realm's administrator: the principal is locked or has expired, or its policy forbids this request",
  }),
  KDC_UNREACHABLE: (facts) => ({
    message: `No KDC of ${realmOf(facts)}${kdcsOf(facts)} can be reached`,
    hint: `Check [realms] in krb5.conf and that port 88 is open by UDP and TCP; \`KRB5_TRACE=/dev/stderr ${kinit(facts).slice(1, -1)}\` shows each attempt`,
  }),
  KDC_TIMEOUT: (facts) => ({
    message: `No KDC of ${realmOf(facts)}${kdcsOf(facts)} answered in time`,
    hint: 'Check that the KDC runs and that no firewall drops its packets, and list a second `kdc =` in krb5.conf',
  }),
  REALM_UNKNOWN: (facts) => ({
    message: `No KDC is configured for the realm ${realmOf(facts)}`,
    hint: `Add ${realmOf(facts)} = { kdc = … } to [realms] in krb5.conf, or SRV records _kerberos._udp.${realmOf(facts)}; check the spelling of the realm (upper case)`,
  }),
  CLOCK_SKEW: (facts) =>
    facts.fromServer === true
      ? {
          message: `The clock of the server ${facts.spn} differs from the times of the ticket of ${who(facts)} by more than Kerberos allows (5 minutes)`,
          hint: "Correct the clock of the server, or of this machine (`timedatectl`, `chronyc makestep`); `poolsmith check` compares this machine's clock with the KDC's",
        }
      : {
          message: `The clocks of this machine and of the KDC of ${realmOf(facts)}${kdcsOf(facts)} differ by more than Kerberos allows (5 minutes)`,
          hint: 'Correct the clock (`timedatectl`, `chronyc makestep`); a container has the clock of its host',
        },
  ENCRYPTION_TYPE_REFUSED: (facts) => ({
    message: `${who(facts)}, the KDC of ${realmOf(facts)} and krb5.conf share no encryption type`,
    hint: 'Export the keytab with aes256-cts, and check permitted_enctypes and allow_weak_crypto in krb5.conf',
  }),
  SPN_UNKNOWN: (facts) => ({
    message: `The Kerberos database of ${realmOf(facts)} does not know the server ${facts.spn ?? ''}`,
    hint:
      "Use the host name in the server's principal (not an address or an alias), or correct `krbsrvname`; " +
      `\`kvno ${(facts.spn ?? 'service@host').replace('@', '/')}\` must work`,
  }),
  GSS_SERVER_REFUSED: (facts) => ({
    message: `The server ${facts.spn ?? ''} could not use the ticket of ${who(facts)}, or could not prove its identity`,
    hint: "Read the server's log: its keytab is old or of another name, or its clock is wrong",
  }),
  GSS_MESSAGE_DAMAGED: (facts) => ({
    message: `A message of the encrypted session with ${facts.spn ?? 'the server'} was altered, repeated, lost or not encrypted`,
    hint: 'Find out what changes the stream between here and the server; the session was closed',
  }),
  GSS_NOT_OFFERED: () => ({
    message: 'The server does not offer GSSAPI encryption',
    hint: 'Use a server that is built with GSSAPI, without a proxy that ends the connection; or set gssencmode=prefer and sslmode=verify-full',
  }),
  GSS_STUFFED: () => ({
    message: 'The server sent unencrypted bytes after its answer to the request for GSSAPI encryption',
    hint: 'Do not connect from this network: a man in the middle may be inserting commands',
  }),
  GSS_FAILED: (facts) => ({
    message: `Kerberos failed for ${who(facts)}${facts.spn === undefined ? '' : ` at ${facts.spn}`}`,
    hint: 'Run again with KRB5_TRACE=/dev/stderr to see each step',
  }),
}

/** The errors that may pass without any change. For all others trying again is pointless. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set(['KDC_UNREACHABLE', 'KDC_TIMEOUT', 'TICKET_CACHE_LOCKED'])

export interface KerberosErrorOptions {
  readonly phase?: Phase
  readonly status?: NativeStatus
  readonly cause?: unknown
  /** A sentence that follows the message. */
  readonly more?: string
}

/** An error of Kerberos: its code and the facts give message and hint. */
export function kerberosError(
  code: ErrorCode,
  facts: KerberosFacts,
  options: KerberosErrorOptions = {},
): PoolsmithError {
  const { status, cause, more } = options
  const advice = (ADVICE[code] ?? ADVICE.GSS_FAILED)?.(facts)
  const words = status === undefined || status.text === '' ? '' : ` (${status.text})`
  const known = Object.entries(facts).filter(([, value]) => value !== undefined)
  return new PoolsmithError(`${advice?.message ?? code}${words}.${more === undefined ? '' : ` ${more}`}`, {
    code,
    phase: options.phase ?? (status === undefined ? 'credential' : phaseOf(status.call)),
    transient: TRANSIENT.has(code),
    details: {
      ...Object.fromEntries(known),
      ...(status?.major === undefined ? {} : { major: `0x${status.major.toString(16)}` }),
      ...(status === undefined ? {} : { minor: status.minor }),
    },
    ...(advice === undefined ? {} : { hint: `${advice.hint}.` }),
    cause,
  })
}

function phaseOf(call: KerberosCall): Phase {
  return call === 'init' || call === 'reply' || call === 'message' ? 'gss' : 'credential'
}

/** The error for a native status. */
export function statusError(status: NativeStatus, facts: KerberosFacts): PoolsmithError {
  return kerberosError(codeOf(status), facts, { status })
}
