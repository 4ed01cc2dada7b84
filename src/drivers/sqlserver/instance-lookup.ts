import { createSocket } from 'node:dgram'
import { isIPv6 } from 'node:net'
import { onAbort } from '../../abort.ts'
import { PoolsmithError } from '../../errors.ts'

const BROWSER_PORT = 1434
/** CLNT_UCAST_INST: one instance by its name (MC-SQLR 2.2.3). */
const ASK_INSTANCE = 0x04
const ANSWER = 0x05
/** UDP loses messages; the question is asked again after each of these. */
const WAITS_MILLIS = [1000, 2000, 4000]

export interface InstanceQuestion {
  readonly host: string
  /** The host's addresses; all are asked. */
  readonly addresses: readonly string[]
  readonly instance: string
  readonly signal: AbortSignal
  /** Default 1434. */
  readonly browserPort?: number
}

/**
 * Asks the SQL Server Browser for the TCP port of a named instance (MC-SQLR).
 *
 * @throws PoolsmithError INSTANCE_NOT_FOUND; the signal's reason
 */
export async function instancePort(question: InstanceQuestion): Promise<number> {
  const { host, addresses, instance, signal, browserPort = BROWSER_PORT } = question
  const ask = Buffer.from(`\u0004${instance}\0`, 'latin1')
  ask[0] = ASK_INSTANCE
  for (const waitMillis of WAITS_MILLIS) {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMillis)])
    const fields = await askOnce(ask, addresses, browserPort, instance, limit)
    signal.throwIfAborted()
    if (fields === undefined) continue
    const port = Number(fields.get('tcp'))
    if (Number.isInteger(port) && port > 0 && port < 65_536) return port
    throw notFound(host, instance, 'The Browser knows the instance, but it does not listen on TCP.')
  }
  throw notFound(host, instance, 'The SQL Server Browser did not answer for it.')
}

/** The first answer for the instance from any of the addresses; undefined when the signal ends the waiting. */
function askOnce(
  ask: Buffer,
  addresses: readonly string[],
  port: number,
  instance: string,
  signal: AbortSignal,
): Promise<Fields | undefined> {
  return new Promise((resolve) => {
    const sockets = addresses.map((address) => {
      const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4')
      // An address that refuses is as good as one that is silent: another may answer.
      socket.on('error', () => undefined)
      socket.on('message', (message, sender) => {
        const fields = fieldsOf(message)
        const forUs = fields.get('instancename')?.toLowerCase() === instance.toLowerCase()
        if (message[0] === ANSWER && sender.port === port && forUs) finish(fields)
      })
      socket.send(ask, port, address, () => undefined)
      return socket
    })
    let isFinished = false
    const finish = (answer: Fields | undefined): void => {
      if (isFinished) return
      isFinished = true
      registration?.[Symbol.dispose]()
      for (const socket of sockets) socket.close()
      resolve(answer)
    }
    let registration: Disposable | undefined
    registration = onAbort(signal, () => finish(undefined))
  })
}

type Fields = ReadonlyMap<string, string>

/** `ServerName;DB1;InstanceName;SQL1;IsClustered;No;Version;16.0.1;tcp;50123;;` */
function fieldsOf(answer: Buffer): Fields {
  const words = answer.toString('latin1', 3).split(';')
  const fields = new Map<string, string>()
  for (let at = 0; at + 1 < words.length; at += 2) fields.set(words[at]?.toLowerCase() ?? '', words[at + 1] ?? '')
  return fields
}

function notFound(host: string, instance: string, why: string): PoolsmithError {
  return new PoolsmithError(`The instance ${instance} was not found on ${host}. ${why}`, {
    code: 'INSTANCE_NOT_FOUND',
    phase: 'connect',
    hint: 'Check the name; let UDP 1434 through and start the SQL Server Browser, or give the port instead.',
    details: { host, instance },
  })
}
