import { PoolsmithError } from '../../errors.ts'
import { KerberosTicket } from '../../kerberos/kerberos-ticket.ts'
import { runSidecar, type SidecarLogEntry } from '../../kerberos/sidecar.ts'
import type { TicketInfo } from '../../kerberos/ticket.ts'
import type { KerberosTicketOptions, TicketUpdater } from '../../kerberos/ticket-updater.ts'
import { printable } from '../../printable.ts'
import { actionOf, type Call, type Command, type Outcome, UsageError } from '../command.ts'
import { toJson } from '../json.ts'
import { rows } from '../layout.ts'

const ACTIONS: Readonly<Record<string, (call: Call) => Promise<Outcome>>> = {
  status: showStatus,
  acquire: (call) => refresh(call, 'acquire'),
  renew: (call) => refresh(call, 'renew'),
  run: runUntilStopped,
  destroy,
}

const UPDATERS = ['lock', 'elected', 'process'] as const satisfies readonly TicketUpdater[]

export const ticketCommand: Command = {
  name: 'ticket',
  summary: 'Show, obtain, renew, keep alive or destroy a Kerberos ticket.',
  description:
    'status: the principal and lifetime of the ticket; fails when there is none that can be used. ' +
    'acquire: obtains a new ticket from the keytab. renew: renews the present one. ' +
    'run: the renewal sidecar; keeps a ticket alive until SIGTERM and logs JSON where the output is no terminal. ' +
    'destroy: removes the cache. ' +
    'KRB_PRINCIPAL, KRB_KEYTAB, KRB_RENEWAL_INTERVAL, KRB5CCNAME and KRB5_KTNAME in the environment stand for the options.',
  positionals: [{ name: 'action', description: 'status, acquire, renew, run or destroy.' }],
  options: {
    principal: {
      type: 'string',
      value: 'NAME',
      description: 'The client principal. Default: the principal of the cache.',
    },
    keytab: { type: 'string', value: 'FILE', description: 'The keytab. Default: the one that krb5 would take.' },
    ccache: { type: 'string', value: 'CACHE', description: 'The ticket cache. Default: the one that krb5 would take.' },
    lifetime: {
      type: 'string',
      value: 'SECONDS',
      description: 'How long a new ticket should be valid. This and the other times may have a unit: 30m, 8h, 7d.',
    },
    'renewable-lifetime': { type: 'string', value: 'SECONDS', description: 'How long it should be renewable.' },
    group: {
      type: 'string',
      value: 'GROUP',
      description: 'A group that may read the cache. Default: only its owner.',
    },
    threshold: {
      type: 'string',
      value: 'SECONDS',
      description: 'run: renew when less is left. Default 1800, or half the life of a shorter ticket.',
    },
    interval: { type: 'string', value: 'SECONDS', description: 'run: look at the ticket this often. Default 600.' },
    'prefer-renewal': {
      type: 'boolean',
      description: 'run: renew the present ticket also where there is a keytab, and use the keytab when that fails.',
    },
    updater: {
      type: 'string',
      value: UPDATERS.join('|'),
      description: 'run: how several updaters of one cache share the work. Default lock.',
    },
    'retry-wait': { type: 'string', value: 'SECONDS', description: 'The wait before the second attempt. Default 1.' },
    'retry-max-wait': {
      type: 'string',
      value: 'SECONDS',
      description: 'The longest wait between attempts. Default 30.',
    },
    attempts: { type: 'string', value: 'N', description: 'Attempts while the KDC cannot be reached. Default 10.' },
    'health-file': {
      type: 'string',
      value: 'FILE',
      description: 'run: a file that exists while the ticket is good.',
    },
    'health-port': {
      type: 'string',
      value: 'PORT',
      description: 'run: answers 200 while the ticket is good, else 503.',
    },
    'health-host': { type: 'string', value: 'HOST', description: 'run: where the port listens. Default 127.0.0.1.' },
  },
  run: (call) => actionOf(ACTIONS, call)(call),
}

async function showStatus(call: Call): Promise<Outcome> {
  const ticket = new KerberosTicket(optionsOf(call))
  const status = await ticket.status()
  if (status.error !== undefined) throw status.error
  return outcomeOf(call, status.ticket, status.renewalDueAt)
}

async function refresh(call: Call, how: 'acquire' | 'renew'): Promise<Outcome> {
  const ticket = new KerberosTicket({
    ...optionsOf(call),
    onEvent: (event) => {
      if (event.kind !== 'failed' || event.retryInMillis === undefined) return
      call.terminal.log.line(`${event.error.message} Trying again in ${Math.ceil(event.retryInMillis / 1000)} s.`)
    },
  })
  const info = await ticket[how](call.signal)
  return outcomeOf(call, info, (await ticket.status()).renewalDueAt)
}

async function destroy(call: Call): Promise<Outcome> {
  const ticket = new KerberosTicket(optionsOf(call))
  const cache = await ticket.cache()
  await ticket.destroy()
  return { data: { cache, destroyed: true }, text: `${cache} is destroyed.` }
}

async function runUntilStopped(call: Call): Promise<Outcome> {
  const { out } = call.terminal
  const asText = out.isTTY && call.values.json !== true
  const port = numberOf(call, 'health-port')
  await runSidecar(
    {
      ...optionsOf(call),
      healthFile: textOf(call, 'health-file'),
      healthPort: port,
      healthHost: textOf(call, 'health-host'),
    },
    { signal: call.signal, log: (entry) => out.line(asText ? logLine(entry) : toJson(entry)) },
  )
  return { data: { stopped: true }, text: asText ? 'Stopped.' : JSON.stringify({ stopped: true }) }
}

function logLine({ time, level, event, ...facts }: SidecarLogEntry): string {
  const told = Object.entries(facts).map(([name, value]) => `${name}=${String(value)}`)
  return printable([time, level, event, ...told].join(' '), Number.POSITIVE_INFINITY)
}

function outcomeOf(call: Call, ticket: TicketInfo | undefined, dueAt: number | undefined): Outcome {
  if (ticket === undefined) {
    throw new PoolsmithError('There is no ticket.', { code: 'TICKET_MISSING', phase: 'credential' })
  }
  const when = (millis: number | undefined): string | undefined =>
    millis === undefined ? undefined : new Date(millis).toISOString()
  const secondsLeft = Math.floor((ticket.expiresAt - Date.now()) / 1000)
  const data = {
    principal: ticket.principal,
    cache: ticket.cache,
    startsAt: when(ticket.startsAt),
    expiresAt: when(ticket.expiresAt),
    secondsLeft,
    renewableUntil: when(ticket.renewableUntil),
    renewalDueAt: when(dueAt),
    encryptionType: ticket.encryptionType,
  }
  const text = rows(
    [
      ['principal', data.principal],
      ['cache', data.cache],
      ['expires', `${data.expiresAt} (in ${secondsLeft} s)`],
      ['renewable', data.renewableUntil === undefined ? 'no' : `until ${data.renewableUntil}`],
      ['encryption', data.encryptionType],
    ],
    call.terminal.out.width,
  )
  return { data, text }
}

function optionsOf(call: Call): KerberosTicketOptions {
  const { environment } = call
  const seconds = (name: string, variable?: string): number | undefined => {
    const value = numberOf(call, name, { read: secondsIn, variable })
    return value === undefined ? undefined : value * 1000
  }
  const updater = textOf(call, 'updater')
  const known = UPDATERS.find((name) => name === updater)
  if (updater !== undefined && known === undefined)
    throw new UsageError(`--updater expects one of ${UPDATERS.join(', ')}, got ${updater}.`)
  return {
    environment,
    principal: textOf(call, 'principal') ?? filled(environment.KRB_PRINCIPAL),
    keytab: textOf(call, 'keytab') ?? filled(environment.KRB_KEYTAB),
    cache: textOf(call, 'ccache'),
    lifetimeSeconds: numberOf(call, 'lifetime', { read: secondsIn, least: 1 }),
    renewableSeconds: numberOf(call, 'renewable-lifetime', { read: secondsIn }),
    group: textOf(call, 'group'),
    updater: known,
    preferRenewal: call.values['prefer-renewal'] === true,
    renewal: present({
      thresholdMillis: seconds('threshold'),
      intervalMillis: seconds('interval', 'KRB_RENEWAL_INTERVAL'),
    }),
    retry: present({
      firstWaitMillis: seconds('retry-wait'),
      longestWaitMillis: seconds('retry-max-wait'),
      attempts: numberOf(call, 'attempts'),
    }),
  }
}

function textOf({ values }: Call, name: string): string | undefined {
  const value = values[name]
  return typeof value === 'string' && value !== '' ? value : undefined
}

const filled = (value: string | undefined): string | undefined => (value === '' ? undefined : value)

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** `90`, or `90s`, `30m`, `8h`, `7d` as kinit and other programs write it. NaN for anything else. */
function secondsIn(text: string): number {
  const [, digits = text, unit = 's'] = /^\s*(\d+(?:\.\d+)?)([smhd])\s*$/.exec(text) ?? []
  return Number(digits) * (UNITS[unit] ?? Number.NaN)
}

interface NumberRules {
  readonly least?: number
  /** The variable that stands for the option in the environment. */
  readonly variable?: string
  readonly read?: (text: string) => number
}

function numberOf(
  call: Call,
  name: string,
  { least = 0, variable = '', read = Number }: NumberRules = {},
): number | undefined {
  const given = textOf(call, name)
  const text = given ?? filled(call.environment[variable])
  if (text === undefined) return undefined
  const number = read(text)
  if (text.trim() === '' || !(number >= least && number <= 2_000_000)) {
    const source = given === undefined ? variable : `--${name}`
    const orTime = read === secondsIn ? ', or a time such as 30m' : ''
    throw new UsageError(`${source} expects a number from ${least} to 2000000${orTime}, got ${JSON.stringify(text)}.`)
  }
  return number
}

function present<T extends object>(values: { [K in keyof T]: T[K] | undefined }): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>
}
