import { type ErrorCode, type Phase, PoolsmithError } from '../errors.ts'
import { codeOf, type KerberosCall, type NativeStatus } from './status.ts'

/** What is known about the thing that failed. The native libraries' texts name few of these, so we do. */
export interface KerberosFacts {
  readonly principal?: string | undefined
  /** The cache's full name, `FILE:/tmp/krb5cc_1000`. */
  readonly cache?: string | undefined
  /** Who the cache belongs to, where that is not `principal`. */
  readonly owner?: string | undefined
  readonly keytab?: string | undefined
  /** Who else is in the keytab. */
  readonly keytabPrincipals?: readonly string[] | undefined
  /** The version of the newest key that the keytab has for the principal. */
  readonly kvno?: number | undefined
  /** The service as it was asked for. */
  readonly spn?: string | undefined
  /** True where it was the server that said so, not the KDC. */
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

/** A new ticket, as a command. */
function kinit(facts: KerberosFacts): string {
  const words = ['kinit']
  // What is in our memory nobody else can fill.
  if (facts.cache !== undefined && !facts.cache.startsWith('MEMORY:')) words.push('-c', facts.cache)
  if (facts.keytab !== undefined) words.push('-k', '-t', facts.keytab)
  const principal = facts.principal ?? facts.owner
  if (principal !== undefined) words.push(principal)
  return `\`${words.join(' ')}\``
}

const ADVICE: Partial<Record<ErrorCode, (facts: KerberosFacts) => Advice>> = {
  KRB5_CONFIG_INVALID: () => ({
    message: 'The Kerberos configuration cannot be used',
    hint: 'Check /etc/krb5.conf (or what KRB5_CONFIG names): readable, well formed, with default_realm in [libdefaults]',
  }),
  TICKET_MISSING: (facts) => ({
    message: `There is no Kerberos ticket in ${cacheOf(facts)}`,
    hint: `Get one with ${kinit(facts)}, name the cache in \`ccache\`, or give a \`keytab\``,
  }),
  TICKET_CACHE_MISSING: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} does not exist or holds no ticket for ${who(facts)}`,
    hint: `Check \`ccache\` and KRB5CCNAME (and that the volume is mounted), or fill it with ${kinit(facts)}`,
  }),
  TICKET_CACHE_UNREADABLE: (facts) => ({
    message: `This process (uid ${process.getuid?.() ?? 'unknown'}) may not read the ticket cache ${cacheOf(facts)}`,
    hint: facts.cache?.startsWith('KEYRING:')
      ? 'Containers mostly forbid the kernel’s keyrings, and not every kernel has persistent ones: use a FILE cache, by `ccache` or default_ccache_name in krb5.conf'
      : `See \`ls -ln ${fileOf(facts.cache)}\`: run under the uid that owns it, or let its updater name a common group`,
  }),
  TICKET_CACHE_EMPTY: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} is empty or cut short`,
    hint: `Whatever writes it was interrupted or the disk is full: fill it anew with ${kinit(facts)}`,
  }),
  TICKET_CACHE_CORRUPT: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} is damaged, or no ticket cache`,
    hint: `Check that \`ccache\` names the right file, then fill it anew with ${kinit(facts)}`,
  }),
  TICKET_CACHE_TYPE_UNKNOWN: (facts) => ({
    message: `krb5 knows no ticket cache of the kind of ${cacheOf(facts)}`,
    hint: 'Write TYPE:name with FILE, DIR, KEYRING, MEMORY or KCM (KEYRING only where krb5 was built with it)',
  }),
  TICKET_CACHE_DAEMON_MISSING: (facts) => ({
    message: `The daemon that keeps ${cacheOf(facts)} does not answer`,
    hint: 'Start it (`systemctl start sssd-kcm.socket`), mount its socket into the container, or use a FILE cache',
  }),
  TICKET_CACHE_NOT_WRITABLE: (facts) => ({
    message: `A new ticket cannot be written to ${cacheOf(facts)}`,
    hint: 'The folder must be writable (mount the folder, not the single file), or leave `ccache` out and the ticket stays in memory',
  }),
  TICKET_CACHE_NOT_TRUSTED: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} is left as it is`,
    hint:
      'Remove that file if nothing needs it; better, name a cache in a folder that only this user can write ' +
      '(`ccache`, KRB5CCNAME)',
  }),
  TICKET_CACHE_LOCKED: (facts) => ({
    message: `Another process kept ${cacheOf(facts)} locked`,
    hint: `See who holds it: \`fuser ${fileOf(facts.cache)}.lock\`; it may itself wait for a KDC that does not answer`,
  }),
  TICKET_PRINCIPAL_MISMATCH: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} belongs to ${facts.owner ?? 'another principal'}, not to ${who(facts)}`,
    hint: `Give each principal a cache of its own, or fill this one with ${kinit(facts)}`,
  }),
  TICKET_EXPIRED: (facts) => ({
    message: `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} expired${at(facts.expiresAt)}`,
    hint: `Get a new one with ${kinit(facts)}, or give a \`keytab\`, or keep it alive with \`poolsmith ticket run\``,
  }),
  TICKET_EXPIRES_SOON: (facts) => ({
    message:
      `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} expires${at(facts.expiresAt)}, ` +
      `sooner than the ${facts.minimumLifetimeSeconds ?? 0} s of min_ticket_lifetime`,
    hint: `Get a new one with ${kinit(facts)}, give a \`keytab\`, or lower min_ticket_lifetime`,
  }),
  TICKET_NOT_YET_VALID: (facts) => ({
    message: `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} is not valid yet`,
    hint: 'Compare the clocks of this machine and of the KDC (`timedatectl`, `chronyc tracking`)',
  }),
  TICKET_REFUSED: (facts) => ({
    message: `The ticket of ${who(facts)} in ${cacheOf(facts)} was not accepted${facts.spn === undefined ? '' : ` on the way to ${facts.spn}`}`,
    hint: `It was made by another KDC, or with keys that have changed since (the realm's or the server's): get a new one with ${kinit(facts)}, then export the server's keytab anew`,
  }),
  TICKET_NOT_RENEWABLE: (facts) => ({
    message: `The Kerberos ticket of ${who(facts)} in ${cacheOf(facts)} cannot be renewed (any more)`,
    hint: 'Get a new one with `kinit -r 7d`, or give a keytab; the principal and krbtgt need a maxrenewlife above zero',
  }),
  KEYTAB_MISSING: (facts) => ({
    message: `The keytab ${keytabOf(facts)} does not exist`,
    hint: 'Check `keytab` and KRB5_KTNAME, and that the secret or volume is mounted',
  }),
  KEYTAB_UNREADABLE: (facts) => ({
    message: `This process (uid ${process.getuid?.() ?? 'unknown'}) may not read the keytab ${keytabOf(facts)}`,
    hint: `See \`ls -ln ${fileOf(facts.keytab)}\`: it should be 0400 and belong to the user that this process runs as`,
  }),
  KEYTAB_CORRUPT: (facts) => ({
    message: `${keytabOf(facts)} is not a keytab, or is damaged`,
    hint:
      `See \`klist -k ${fileOf(facts.keytab)}\`: a keytab is binary and must not pass through a text field unencoded, ` +
      'and a container has an empty directory where the file to be mounted is missing',
  }),
  KEYTAB_WITHOUT_PRINCIPAL: (facts) => ({
    message:
      `The keytab ${keytabOf(facts)} holds no usable key for ${who(facts)}` +
      (facts.keytabPrincipals === undefined || facts.keytabPrincipals.length === 0
        ? ''
        : `; it holds ${facts.keytabPrincipals.join(', ')}`),
    hint: 'Correct `principal`, or export the keytab for it; case counts',
  }),
  KEYTAB_REFUSED: (facts) => ({
    message:
      `The KDC of ${realmOf(facts)} does not accept the key of ${who(facts)} in ${keytabOf(facts)}` +
      (facts.kvno === undefined ? '' : `, whose newest is of kvno ${facts.kvno}`),
    hint: `The key was changed since the keytab was written: export it anew, and compare \`klist -kt ${fileOf(facts.keytab)}\` with what \`kvno ${who(facts)}\` says to somebody who has a ticket`,
  }),
  PRINCIPAL_MALFORMED: (facts) => ({
    message: `${facts.spn ?? facts.principal ?? 'What should name a principal'} is not written as a principal`,
    hint: 'Write name@REALM or service/host@REALM; a backslash stands before an @, / or \\ that belongs to a name',
  }),
  PRINCIPAL_UNKNOWN: (facts) => ({
    message: `The Kerberos database of ${realmOf(facts)} does not know ${who(facts)}`,
    hint: 'Check the spelling (case counts) and the realm of `principal`',
  }),
  PRINCIPAL_REFUSED: (facts) => ({
    message: `The KDC of ${realmOf(facts)} refuses ${who(facts)}`,
    hint: 'Ask the realm’s administrator: the principal is locked, expired, or its policy forbids this request',
  }),
  KDC_UNREACHABLE: (facts) => ({
    message: `No KDC of ${realmOf(facts)}${kdcsOf(facts)} can be reached`,
    hint: `Check [realms] in krb5.conf and that port 88 is open by UDP and TCP; \`KRB5_TRACE=/dev/stderr ${kinit(facts).slice(1, -1)}\` shows each attempt`,
  }),
  KDC_TIMEOUT: (facts) => ({
    message: `No KDC of ${realmOf(facts)}${kdcsOf(facts)} answered in time`,
    hint: 'The KDC is down, frozen or behind a firewall that drops packets; list a second `kdc =` in krb5.conf',
  }),
  REALM_UNKNOWN: (facts) => ({
    message: `Nothing says where the KDC of the realm ${realmOf(facts)} is`,
    hint: `Add ${realmOf(facts)} = { kdc = … } to [realms] in krb5.conf, or SRV records _kerberos._udp.${realmOf(facts)}; check the realm’s spelling (upper case)`,
  }),
  CLOCK_SKEW: (facts) =>
    facts.fromServer === true
      ? {
          message: `By the clock of the server ${facts.spn} the ticket of ${who(facts)} is more than 5 minutes off, which is what Kerberos allows`,
          hint: 'Correct the clock of the server, or of this machine (`timedatectl`, `chronyc makestep`): `poolsmith check` compares ours with the KDC’s',
        }
      : {
          message: `The clocks of this machine and of the KDC of ${realmOf(facts)}${kdcsOf(facts)} differ by more than Kerberos allows (5 minutes)`,
          hint: 'Correct the clock (`timedatectl`, `chronyc makestep`); a container has its host’s clock',
        },
  ENCRYPTION_TYPE_REFUSED: (facts) => ({
    message: `${who(facts)}, the KDC of ${realmOf(facts)} and krb5.conf share no encryption type`,
    hint: 'Export the keytab with aes256-cts, and check permitted_enctypes and allow_weak_crypto in krb5.conf',
  }),
  SPN_UNKNOWN: (facts) => ({
    message: `The Kerberos database of ${realmOf(facts)} does not know the server ${facts.spn ?? ''}`,
    hint:
      'Use the host name that the server’s principal was made for (not an address or an alias), or correct `krbsrvname`; ' +
      `\`kvno ${(facts.spn ?? 'service@host').replace('@', '/')}\` must work`,
  }),
  GSS_SERVER_REFUSED: (facts) => ({
    message: `The server ${facts.spn ?? ''} could not use the ticket of ${who(facts)}, or could not prove itself`,
    hint: 'The server’s keytab is old or of another name, or its clock is wrong: the server’s log says which',
  }),
  GSS_MESSAGE_DAMAGED: (facts) => ({
    message: `A message of the encrypted session with ${facts.spn ?? 'the server'} was altered, repeated, lost or not encrypted`,
    hint: 'Something between here and the server changes the stream; the session was closed',
  }),
  GSS_NOT_OFFERED: () => ({
    message: 'The server does not offer GSSAPI encryption',
    hint: 'Use a server that is built with GSSAPI, with nothing in between that ends the connection; or gssencmode=prefer with sslmode=verify-full',
  }),
  GSS_STUFFED: () => ({
    message: 'The server sent unencrypted bytes behind its answer to the request for GSSAPI encryption',
    hint: 'Somebody between us and the server may be inserting commands; do not go on from this network',
  }),
  GSS_FAILED: (facts) => ({
    message: `Kerberos failed for ${who(facts)}${facts.spn === undefined ? '' : ` at ${facts.spn}`}`,
    hint: 'Run again with KRB5_TRACE=/dev/stderr to see each step',
  }),
}

/** What may get better by itself. All else needs somebody's hand, and trying again is pointless. */
const TRANSIENT: ReadonlySet<ErrorCode> = new Set(['KDC_UNREACHABLE', 'KDC_TIMEOUT', 'TICKET_CACHE_LOCKED'])

export interface KerberosErrorOptions {
  readonly phase?: Phase
  readonly status?: NativeStatus
  readonly cause?: unknown
  /** A sentence that follows the message. */
  readonly more?: string
}

/** An error of this room: message and hint come from its code and the facts. */
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
    ...(cause === undefined ? {} : { cause }),
  })
}

function phaseOf(call: KerberosCall): Phase {
  return call === 'init' || call === 'reply' || call === 'message' ? 'gss' : 'credential'
}

/** The error for a native status. */
export function statusError(status: NativeStatus, facts: KerberosFacts): PoolsmithError {
  return kerberosError(codeOf(status), facts, { status })
}
