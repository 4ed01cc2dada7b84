import { randomUUID } from 'node:crypto'
import { resolveSrv } from 'node:dns/promises'
import { errorText, isError } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { ensureTicket, forgetTickets, openCredential } from './ensure-ticket.ts'
import { realmIn } from './facts.ts'
import { type GssTarget, targetName } from './gss-api.ts'
import { type HostNames, type NamesProblem, namesOf } from './host-names.ts'
import {
  ENCRYPTION_TYPES,
  KDC_ERR_ETYPE_NOSUPP,
  type KdcAddress,
  NO_ENCRYPTION_TYPE,
  parseKdc,
  probeKdc,
} from './kdc-probe.ts'
import { loadGssApi } from './load-gss-api.ts'
import { Krb5 } from './native/krb5.ts'
import type { KeytabEntry } from './native/krb5-keytab.ts'
import type { PasswordOf } from './refresh-ticket.ts'
import type { TicketInfo } from './ticket.ts'

export interface DiagnoseRequest {
  /** Undefined where no ticket for a service is used: over a Unix socket. */
  readonly target?: GssTarget | undefined
  /** The host as the user named it, where it is to be resolved. */
  readonly host?: string | undefined
  readonly principal?: string | undefined
  readonly cache?: string | undefined
  readonly keytab?: string | undefined
  /** The password of `principal`. */
  readonly password?: PasswordOf | undefined
  readonly signal: AbortSignal
  /** For each question to the network, in milliseconds. Default 3,000. */
  readonly limitMillis?: number
}

/** Something that is wrong, and what to do about it. */
export interface KerberosProblem {
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
}

export interface KdcReport {
  /** `kdc.example.com:88` */
  readonly address: string
  /** Milliseconds until its answer, or the reason why there was none. */
  readonly udp: number | string
  readonly tcp: number | string
}

export interface KeytabReport {
  readonly path: string
  readonly entries: readonly (KeytabEntry & {
    /** Whether the KDC accepts this encryption type for this principal; absent when it could not be asked. */
    readonly accepted?: boolean
  })[]
}

/** The state of Kerberos on this machine, towards one server. Plain values. */
export interface KerberosReport {
  readonly realm?: string
  readonly ticket?: TicketInfo
  readonly service?: {
    /** As it was asked for: `postgres@db`. */
    readonly asked: string
    /** The principal that krb5 made of it, once the KDC has issued a ticket: `postgres/db.example.com@EXAMPLE.COM`. */
    readonly principal?: string
  }
  readonly names?: HostNames
  readonly kdcs: readonly KdcReport[]
  /** The KDC's clock minus ours, in milliseconds. */
  readonly clockOffsetMillis?: number
  readonly keytab?: KeytabReport
  readonly problems: readonly KerberosProblem[]
}

/** The difference that Kerberos allows by default (krb5.conf, `clockskew`). */
const ALLOWED_SKEW_MILLIS = 300_000

/**
 * Looks at everything that a Kerberos login needs, one by one, whether or not the others work: ticket, service, names,
 * KDCs, clock, keytab. Each failure is one of the problems; the call rejects only when the libraries are missing.
 *
 * @throws PACKAGE_MISSING, GSS_LIBRARY_MISSING; ABORTED
 */
export async function diagnose(request: DiagnoseRequest): Promise<KerberosReport> {
  using krb5 = await Krb5.open()
  const problems: KerberosProblem[] = []
  const limit = (): AbortSignal => AbortSignal.any([request.signal, AbortSignal.timeout(request.limitMillis ?? 3000)])
  const tried = async <T>(run: () => T | Promise<T>): Promise<T | undefined> => {
    try {
      return await run()
    } catch (error) {
      throwIfAborted(request.signal)
      const problem = problemOf(error)
      // A missing keytab fails twice: when it is used, and when it is read.
      if (!problems.some(({ message }) => message === problem.message)) problems.push(problem)
      return undefined
    }
  }
  // A pool that obtains its tickets itself keeps them in memory of its own, and so does this check.
  const { keytab, password } = request
  const obtains = keytab !== undefined || password !== undefined
  const own = obtains && request.cache === undefined ? `MEMORY:poolsmith-${randomUUID()}` : undefined
  const wanted = { principal: request.principal, cache: request.cache ?? own, keytab, password }
  try {
    const ticket = await tried(() => ensureTicket(wanted, { signal: limit() }))
    const { target, principal: name } = request
    const principal =
      ticket === undefined || target === undefined ? undefined : await tried(() => serviceOf(target, ticket, limit()))
    const client = ticket?.principal ?? (name === undefined ? undefined : await tried(() => krb5.principal(name)))
    const realm = realmIn(client) ?? krb5.configured('libdefaults', 'default_realm')
    const { names, problems: misnamed } = await namesOf(request.host, configurationOf(krb5), limit())
    // Names matter only when the service was not found.
    if (principal === undefined) problems.push(...misnamed.map(nameProblem))
    const kdcs = realm === undefined ? [] : await kdcsOf(krb5, realm, problems)
    const question = { principal: client ?? `poolsmith@${realm}`, realm: realm ?? '' }
    const answers = await Promise.all(kdcs.map((kdc) => lookAt(kdc, question, limit)))
    const offset = answers.find(({ clockOffsetMillis }) => clockOffsetMillis !== undefined)?.clockOffsetMillis
    problems.push(...kdcProblems(answers), ...clockProblems(offset))
    const keytabReport = await keytabOf(krb5, request, question, kdcs, limit, tried)
    if (keytabReport !== undefined) problems.push(...keytabProblems(keytabReport, client))
    throwIfAborted(request.signal)
    return {
      ...(realm === undefined ? {} : { realm }),
      ...(ticket === undefined ? {} : { ticket }),
      ...(target === undefined
        ? {}
        : { service: { asked: targetName(target), ...(principal === undefined ? {} : { principal }) } }),
      ...(names === undefined ? {} : { names }),
      kdcs: answers.map(({ address, udp, tcp }) => ({ address, udp, tcp })),
      ...(offset === undefined ? {} : { clockOffsetMillis: offset }),
      ...(keytabReport === undefined ? {} : { keytab: keytabReport }),
      problems,
    }
  } finally {
    if (own !== undefined) await forgetTickets(own)
  }
}

function throwIfAborted({ aborted, reason }: AbortSignal): void {
  if (!aborted) return
  throw new PoolsmithError('The check of Kerberos was aborted.', { code: 'ABORTED', phase: 'gss', cause: reason })
}

function problemOf(error: unknown): KerberosProblem {
  if (error instanceof PoolsmithError) return { code: error.code, message: error.message, hint: error.hint }
  return { code: 'UNEXPECTED', message: errorText(error) }
}

/** Asks for a ticket for the service. Without mutual authentication the context is complete at once and has the name. */
async function serviceOf(target: GssTarget, ticket: TicketInfo, signal: AbortSignal): Promise<string> {
  const gss = await loadGssApi()
  using opened = await openCredential(gss, { principal: ticket.principal, cache: ticket.cache }, { signal })
  using context = gss.initContext({ target, flags: [], credential: opened.handle })
  await context.step(undefined, { signal })
  return context.inquire().target
}

function configurationOf(krb5: Krb5): { canonicalise: string; reverse: boolean } {
  const canonicalise = krb5.configured('libdefaults', 'dns_canonicalize_hostname') ?? 'true'
  const reverse = krb5.configured('libdefaults', 'rdns') ?? 'true'
  return { canonicalise, reverse: /^(true|yes|y|t|1|on)$/i.test(reverse) }
}

function nameProblem({ message, hint }: NamesProblem): KerberosProblem {
  return {
    code: 'HOST_NAME',
    message,
    hint,
  }
}

/** The KDCs that krb5.conf names, or else DNS (RFC 4120 7.2.3). */
async function kdcsOf(krb5: Krb5, realm: string, problems: KerberosProblem[]): Promise<KdcAddress[]> {
  const { kdcs = [] } = krb5.withKdcs({ realm })
  const named = kdcs.map(parseKdc).filter((kdc) => kdc !== undefined)
  if (kdcs.length > 0) return named
  try {
    const records = await resolveSrv(`_kerberos._udp.${realm}`)
    return records.sort((a, b) => a.priority - b.priority).map(({ name, port }) => ({ host: name, port }))
  } catch (error) {
    problems.push({
      code: 'REALM_UNKNOWN',
      message: `Neither krb5.conf nor DNS names a KDC of ${realm} (${errorText(error)}).`,
      hint: `Add ${realm} = { kdc = … } to [realms] in krb5.conf.`,
    })
    return []
  }
}

interface Question {
  readonly principal: string
  readonly realm: string
}

async function lookAt(
  kdc: KdcAddress,
  question: Question,
  limit: () => AbortSignal,
): Promise<KdcReport & { readonly clockOffsetMillis: number | undefined }> {
  const ask = async (transport: 'udp' | 'tcp') => {
    try {
      return await probeKdc(kdc, transport, { ...question, encryptionTypes: [NO_ENCRYPTION_TYPE] }, limit())
    } catch (error) {
      return isError(error) && error.name === 'TimeoutError' ? 'no answer' : String(reasonOf(error))
    }
  }
  const [udp, tcp] = await Promise.all([ask('udp'), ask('tcp')])
  const millis = (answer: typeof udp): number | string =>
    typeof answer === 'string' ? answer : Number(answer.millis.toFixed(1))
  const offsets = [udp, tcp].flatMap((answer) => (typeof answer === 'string' ? [] : [answer.clockOffsetMillis]))
  return {
    address: kdc.host.includes(':') ? `[${kdc.host}]:${kdc.port}` : `${kdc.host}:${kdc.port}`,
    udp: millis(udp),
    tcp: millis(tcp),
    clockOffsetMillis: offsets.find((offset) => offset !== undefined),
  }
}

function reasonOf(error: unknown): string {
  if (!isError(error)) return String(error)
  const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
  if (error.name === 'AbortError') return 'no answer'
  return code === 'ECONNREFUSED' ? 'refused' : (code ?? error.message)
}

function kdcProblems(kdcs: readonly KdcReport[]): KerberosProblem[] {
  return kdcs
    .filter(({ udp, tcp }) => typeof udp === 'string' && typeof tcp === 'string')
    .map(({ address, udp, tcp }) => ({
      code: 'KDC_UNREACHABLE',
      message: `The KDC ${address} does not answer: ${udp} by UDP, ${tcp} by TCP.`,
      hint: 'Check that it runs, that port 88 is open by UDP and TCP, and the addresses in [realms] of krb5.conf.',
    }))
}

function clockProblems(offset: number | undefined): KerberosProblem[] {
  if (offset === undefined || Math.abs(offset) < ALLOWED_SKEW_MILLIS) return []
  return [
    {
      code: 'CLOCK_SKEW',
      message: `The clock of the KDC is ${Math.round(Math.abs(offset) / 1000)} s ${offset > 0 ? 'ahead of' : 'behind'} this machine's.`,
      hint: 'Correct the clock (`timedatectl`, `chronyc makestep`); a container has the clock of its host.',
    },
  ]
}

/** The entries of the keytab, and whether the KDC accepts their encryption types. */
async function keytabOf(
  krb5: Krb5,
  { keytab: path }: DiagnoseRequest,
  { realm }: Question,
  kdcs: readonly KdcAddress[],
  limit: () => AbortSignal,
  tried: <T>(run: () => T) => Promise<T | undefined>,
): Promise<KeytabReport | undefined> {
  if (path === undefined) return undefined
  const entries = await tried(() => krb5.keytab(path))
  if (entries === undefined) return undefined
  const [kdc] = kdcs
  const judged = await Promise.all(
    entries.map(async (entry) => {
      const type = ENCRYPTION_TYPES[entry.encryptionType]
      if (kdc === undefined || type === undefined || realmIn(entry.principal) !== realm) return entry
      const question = { principal: entry.principal, realm, encryptionTypes: [type] }
      const answer = await probeKdc(kdc, 'tcp', question, limit()).catch(() => undefined)
      return answer === undefined ? entry : { ...entry, accepted: answer.error !== KDC_ERR_ETYPE_NOSUPP }
    }),
  )
  return { path, entries: judged }
}

function keytabProblems({ path, entries }: KeytabReport, client: string | undefined): KerberosProblem[] {
  const ours = entries.filter(({ principal }) => client === undefined || principal === client)
  if (ours.length === 0 || ours.some(({ accepted }) => accepted !== false)) return []
  const types = [...new Set(ours.map(({ encryptionType }) => encryptionType))].join(', ')
  return [
    {
      code: 'ENCRYPTION_TYPE_REFUSED',
      message: `The KDC accepts none of the encryption types that ${path} has for ${client ?? 'its principals'}: ${types}.`,
      hint: 'Export the keytab again with the types that the realm allows, such as aes256-cts.',
    },
  ]
}
