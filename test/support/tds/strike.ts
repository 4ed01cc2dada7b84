/** Part of the TDS server test double: the faults of the script, carried out. */

import type { Fault, Faults, Step } from './faults.ts'
import type { Transport } from './packets.ts'
import { SqlError } from './translate.ts'

/** The login has ended: refused, routed, or the client has disconnected. */
export class LoginEnded extends Error {}

export const GARBAGE = 'HTTP/1.1 400 Bad Request\r\n\r\n not a TDS packet at all'

/** Applies the script's fault at this step; returns a refusal for the caller to send. */
export async function strike(
  transport: Transport,
  faults: Faults,
  step: Step,
  rows = 0,
  sql = '',
): Promise<Extract<Fault, { do: 'refuse' }> | undefined> {
  const fault = faults.take(step, rows, sql)
  switch (fault?.do) {
    case undefined:
      return undefined
    case 'refuse':
      return fault
    case 'delay':
      await new Promise((resolve) => setTimeout(resolve, fault.millis))
      return undefined
    case 'hang':
      while ((await transport.read()) !== undefined);
      throw new LoginEnded('hung')
    case 'cut':
      transport.end()
      throw new LoginEnded('cut')
    case 'reset':
      transport.socket.resetAndDestroy()
      throw new LoginEnded('reset')
    case 'garble':
      await transport.writeRaw(Buffer.from(GARBAGE))
      while ((await transport.read()) !== undefined);
      throw new LoginEnded('garbled')
  }
}

export function refusal(fault: Extract<Fault, { do: 'refuse' }>): SqlError {
  return new SqlError(fault.number, fault.state ?? 1, fault.class ?? 14, fault.message ?? `Error ${fault.number}.`)
}
