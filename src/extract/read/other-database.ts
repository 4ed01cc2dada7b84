import { PoolsmithError } from '../../errors.ts'
import { printable } from '../../printable.ts'
import type { Fingerprint } from './table.ts'

/**
 * Refuses to read a plan's rows in another database than the one that it was made for: its ranges would choose other
 * rows there, and an equal table would be read without any error.
 *
 * @throws PoolsmithError PLAN_OTHER_DATABASE
 */
export function refuseOtherDatabase(planned: Fingerprint | undefined, here: Omit<Fingerprint, 'table'>): void {
  if (planned === undefined || (planned.system === here.system && planned.database === here.database)) return
  throw new PoolsmithError(`The plan was made for ${shown(planned)}, and this connection is to ${shown(here)}.`, {
    code: 'PLAN_OTHER_DATABASE',
    phase: 'config',
    hint: 'Run the parts with a connection to the database of the plan, or plan again.',
    details: { planned: planned.database, connected: here.database },
  })
}

function shown({ database, system }: Omit<Fingerprint, 'table'>): string {
  return `the database ${printable(database)} (${printable(system)})`
}
