/** How the client names itself in LOGIN7 (MS-TDS 2.2.6.4), as sys.dm_exec_sessions and sys.sysprocesses show it. */

import { createHash, randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { hostname, networkInterfaces } from 'node:os'
import { packageVersion, versionOf } from '../../version.ts'

export interface ClientIdentity {
  /** CltIntName, shown as `client_interface_name`: `poolsmith 0.1.0 (tedious 20.3.9)`. */
  readonly name: string
  /** ClientProgVer: major, minor and patch version, from the highest byte on. */
  readonly version: number
  /** ClientID, shown as `net_address`: six bytes that are the same for every login of a machine. */
  readonly id: Buffer
}

let known: ClientIdentity | undefined

export function clientIdentity(): ClientIdentity {
  known ??= identify()
  return known
}

function identify(): ClientIdentity {
  const own = versionOf(packageVersion)
  const tedious = versionOf(
    () => (createRequire(import.meta.url)('tedious/package.json') as { version: string }).version,
  )
  const [major = 0, minor = 0, patch = 0] = own.split('.').map((part) => Number.parseInt(part, 10) || 0)
  return {
    name: ['poolsmith', own, tedious === '' ? '' : `(tedious ${tedious})`].filter((part) => part !== '').join(' '),
    version: Buffer.from([major, minor, patch, 0]).readUInt32BE(),
    id: machineId(hostname(), networkInterfaces()),
  }
}

/** Of the address of a network card, as Microsoft's drivers do, and the host name, which tells containers apart. */
export function machineId(host: string, interfaces: ReturnType<typeof networkInterfaces>): Buffer {
  const cards = Object.values(interfaces).flatMap((addresses) => addresses ?? [])
  const mac = cards.find(({ internal, mac: address }) => !internal && address !== '00:00:00:00:00:00')?.mac
  const seed = mac === undefined ? randomBytes(16) : `${host} ${mac}`
  return createHash('sha256').update(seed).digest().subarray(0, 6)
}
