import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { pause } from '../abort.ts'
import { errorText, isError } from '../any-error.ts'
import { PoolsmithError } from '../errors.ts'
import { HealthFile } from './health-file.ts'
import { KerberosTicket } from './kerberos-ticket.ts'
import type { KerberosTicketOptions, TicketEvent } from './ticket-updater.ts'

export interface SidecarOptions extends KerberosTicketOptions {
  /** This file exists, with the state as JSON, while there is a good ticket, and only then. */
  readonly healthFile?: string | undefined
  /** Answers `GET /` with 200 or 503 and the state as JSON. 0 chooses a free port. */
  readonly healthPort?: number | undefined
  /** Default 127.0.0.1. */
  readonly healthHost?: string | undefined
}

export interface SidecarLogEntry {
  readonly time: string
  readonly level: 'info' | 'warning' | 'error'
  readonly event: string
  readonly [fact: string]: unknown
}

export interface SidecarContext {
  /** Ends the sidecar, which then resolves. */
  readonly signal: AbortSignal
  readonly log: (entry: SidecarLogEntry) => void
}

interface Health {
  readonly healthy: boolean
  readonly cache: string
  readonly principal?: string
  readonly expiresAt?: string
  readonly error?: string
  readonly code?: string
}

/** How often the health is checked, in milliseconds: one short file is read. */
const HEALTH_MILLIS = 1000

/**
 * The renewal sidecar: obtains a ticket, keeps it good and reports its state, until the signal. It rejects only when the
 * first ticket cannot be obtained; later failures are logged and tried again, and the health shows the state.
 */
export async function runSidecar(options: SidecarOptions, context: SidecarContext): Promise<void> {
  const { signal } = context
  const log = (level: SidecarLogEntry['level'], event: string, facts: Record<string, unknown> = {}): void =>
    context.log({ time: new Date().toISOString(), level, event, ...facts })
  const ticket = new KerberosTicket({ ...options, onEvent: (event) => logEvent(log, event) })
  const file = options.healthFile === undefined ? undefined : await HealthFile.at(options.healthFile)
  let health: Health = { healthy: false, cache: await ticket.cache() }
  const server = options.healthPort === undefined ? undefined : await listen(options, () => health)
  const stop = new AbortController()
  const watching = watch(AbortSignal.any([signal, stop.signal]), log, async () => {
    health = await healthOf(ticket)
    await file?.show(health.healthy ? health : undefined)
  })
  try {
    log('info', 'started', { cache: health.cache, ...(server === undefined ? {} : { health: addressOf(server) }) })
    await ticket.start(signal)
    await watching
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    stop.abort()
    await watching
    await ticket.close()
    server?.close()
    server?.closeAllConnections()
    await file?.show(undefined).catch((error: unknown) => log('error', 'health-failed', { message: errorText(error) }))
    log('info', 'stopped')
  }
}

/** Checks the health until the signal. */
async function watch(
  signal: AbortSignal,
  log: (level: 'error', event: string, facts: Record<string, unknown>) => void,
  look: () => Promise<void>,
): Promise<void> {
  let told: string | undefined
  while (!signal.aborted) {
    try {
      await look()
      told = undefined
    } catch (error) {
      const message = errorText(error)
      if (message !== told) log('error', 'health-failed', { message })
      told = message
    }
    await pause(HEALTH_MILLIS, { signal }).catch(() => undefined)
  }
}

async function healthOf(ticket: KerberosTicket): Promise<Health> {
  const status = await ticket.status()
  const cache = await ticket.cache()
  if (status.ticket === undefined) {
    return { healthy: false, cache, ...(status.error && { error: status.error.message, code: status.error.code }) }
  }
  const { principal, expiresAt } = status.ticket
  return { healthy: true, cache, principal, expiresAt: new Date(expiresAt).toISOString() }
}

async function listen(options: SidecarOptions, health: () => Health): Promise<Server> {
  const server = createServer((_, response) => {
    const state = health()
    response.writeHead(state.healthy ? 200 : 503, { 'content-type': 'application/json' })
    response.end(`${JSON.stringify(state)}\n`)
  })
  try {
    server.listen(options.healthPort, options.healthHost ?? '127.0.0.1')
    await once(server, 'listening')
  } catch (cause) {
    const why = isError(cause) ? ` (${cause.message})` : ''
    throw new PoolsmithError(`The health port ${options.healthPort} cannot be opened${why}.`, {
      code: 'CONFIG_INVALID',
      phase: 'config',
      hint: 'Choose another port, or 0 for a free one.',
      cause,
    })
  }
  return server
}

function addressOf(server: Server): string {
  const address = server.address()
  return address === null || typeof address === 'string' ? '' : `http://${address.address}:${address.port}/`
}

function logEvent(
  log: (level: SidecarLogEntry['level'], event: string, facts: Record<string, unknown>) => void,
  event: TicketEvent,
): void {
  switch (event.kind) {
    case 'failed': {
      const { error, attempt, retryInMillis } = event
      const { code, message, hint } = error
      log('error', 'failed', {
        code,
        message,
        hint,
        attempt,
        ...(retryInMillis === undefined ? {} : { retryInMillis }),
      })
      return
    }
    case 'elected':
      log('info', 'elected', {})
      return
    default: {
      const { principal, cache, expiresAt } = event.ticket
      log('info', event.kind, { principal, cache, expiresAt: new Date(expiresAt).toISOString() })
    }
  }
}
