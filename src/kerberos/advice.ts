import type { ErrorCode } from '../errors.ts'
import { besideCache } from './cache-name.ts'
import * as commands from './commands.ts'
import { type KerberosFacts, realmIn } from './facts.ts'

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

const kinit = (facts: KerberosFacts, more: readonly string[] = []): string => `\`${commands.kinit(facts, more)}\``
const fileWord = (name: string | undefined): string => commands.shellWord(fileOf(name))

/** The option that names the server's principal, by the service and by how the target was given. */
function spnOption({ spn = '' }: KerberosFacts): string {
  if (/^MSSQLSvc\b/i.test(spn)) return 'mssql_spn'
  return spn.includes('/') ? 'krbspn' : 'krbsrvname'
}

/** A cache of its own for a principal, beside a file that belongs to another one. */
function ownCache({ cache, principal, ...facts }: KerberosFacts): KerberosFacts {
  const isFile = cache !== undefined && !/^(?!FILE:)[A-Z]+:/.test(cache)
  const name = (principal ?? 'own').replace(/[^\w.-].*/, '')
  return { ...facts, principal, owner: undefined, cache: isFile ? `${cache}_${name}` : cache }
}

/** The message and the hint of each code. */
export const ADVICE: Partial<Record<ErrorCode, (facts: KerberosFacts) => Advice>> = {
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
      : `Run \`ls -ln ${fileWord(facts.cache)}\`; then run this process under the uid of the owner, or let the updater name a common group`,
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
    hint: `Find that process with \`fuser ${commands.shellWord(besideCache(facts.cache ?? '', 'lock') ?? '')}\`; it may be waiting for a KDC that does not answer`,
  }),
  TICKET_PRINCIPAL_MISMATCH: (facts) => ({
    message: `The ticket cache ${cacheOf(facts)} belongs to ${facts.owner ?? 'another principal'}, not to ${who(facts)}`,
    hint: `Give each principal a cache of its own, with ${kinit(ownCache(facts))} for example, and name it in \`ccache\``,
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
    hint: `Obtain a new one with ${kinit(facts, ['-r', '7d'])}, or set \`keytab\`; the principal and krbtgt need a maxrenewlife above zero`,
  }),
  KEYTAB_MISSING: (facts) => ({
    message: `The keytab ${keytabOf(facts)} does not exist`,
    hint: 'Check `keytab` and KRB5_KTNAME, and that the secret or volume is mounted',
  }),
  KEYTAB_UNREADABLE: (facts) => ({
    message: `This process (uid ${process.getuid?.() ?? 'unknown'}) may not read the keytab ${keytabOf(facts)}`,
    hint: `Run \`ls -ln ${fileWord(facts.keytab)}\`: the file should have mode 0400 and belong to the user of this process`,
  }),
  KEYTAB_CORRUPT: (facts) => ({
    message: `${keytabOf(facts)} is not a keytab, or is damaged`,
    hint:
      `Run \`klist -k ${fileWord(facts.keytab)}\`: a keytab is binary and must not pass through a text field unencoded, ` +
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
    hint: `Export the keytab again: the key has changed since it was written. Compare \`klist -kt ${fileWord(facts.keytab)}\` with \`${commands.kvno({ service: who(facts) })}\`, which needs a ticket`,
  }),
  KEYTAB_NOT_TRUSTED: (facts) => ({
    message: `The keytab ${keytabOf(facts)} is not rotated`,
    hint: `Run \`ls -ln ${fileWord(facts.keytab)}*\`: the keytab must be a regular file with mode 0600 of the user who rotates it`,
  }),
  KEYTAB_NOT_WRITABLE: (facts) => ({
    message: `The keytab ${keytabOf(facts)} cannot be replaced`,
    hint: 'Check the rights on its folder, in which a rotation makes files, and the space on the disk',
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
  CREDENTIAL_REFUSED: (facts) => ({
    message: `The KDC of ${realmOf(facts)} does not accept the password of ${who(facts)}`,
    hint: 'Check the password in the connection or in `password_file`, and the spelling of the principal (upper and lower case differ)',
  }),
  LOGIN_PASSWORD_CHANGE: (facts) => ({
    message: `The password of ${who(facts)} has expired, or must be changed first`,
    hint: `Set a new one with \`kpasswd ${who(facts)}\`, then ${facts.keytab === undefined ? 'put it into the connection' : 'export the keytab again'}`,
  }),
  PREAUTH_UNSUPPORTED: (facts) => ({
    message: `The KDC of ${realmOf(facts)} asks ${who(facts)} for a proof of identity that ${facts.keytab === undefined ? 'a password' : 'a keytab'} does not give`,
    hint: 'Use a principal without a smart card or one-time password, or fill a cache by kinit and name it in `ccache`',
  }),
  KDC_UNREACHABLE: (facts) => ({
    message: `No KDC of ${realmOf(facts)}${kdcsOf(facts)} can be reached`,
    hint: `Check [realms] in krb5.conf and that port 88 is open by UDP and TCP; \`KRB5_TRACE=/dev/stderr ${facts.spn === undefined ? commands.kinit(facts) : commands.kvno(facts)}\` shows each attempt`,
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
  ENCRYPTION_TYPE_REFUSED: ({ keytabTypes: types = [], ...facts }) => ({
    message:
      types.length === 0
        ? `${who(facts)}, the KDC of ${realmOf(facts)} and krb5.conf share no encryption type`
        : `The KDC of ${realmOf(facts)} or krb5.conf does not allow the encryption types of the keytab ${keytabOf(facts)} for ${who(facts)}: ${types.join(', ')}`,
    hint: `${facts.spn !== undefined ? "Give the server's account keys" : facts.keytab === undefined ? 'Give the principal keys' : 'Export the keytab again with keys'} of aes256-cts, and check permitted_enctypes and allow_weak_crypto in krb5.conf`,
  }),
  SPN_UNKNOWN: (facts) => {
    const foreign = /^krbtgt\/([^@]+)@/.exec(facts.service ?? '')?.[1]
    if (foreign !== undefined) {
      return {
        message: `The realm ${realmOf(facts)} has no trust with the realm ${foreign}, in which krb5 looks for the server ${facts.spn ?? ''}`,
        hint: `Have the realms trust each other, or correct [domain_realm] in krb5.conf, which says to which realm a host belongs`,
      }
    }
    return {
      message: `The Kerberos database of ${realmOf(facts)} does not know the server ${facts.service ?? facts.spn ?? ''}`,
      hint:
        "Use the host name in the server's principal (not an address or an alias), or correct " +
        `\`${spnOption(facts)}\`; \`${commands.kvno(facts)}\` must work`,
    }
  },
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
