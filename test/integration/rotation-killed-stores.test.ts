/** Rotations of a password that are killed at any step, in each kind of store that can be written. */

import { test } from 'node:test'
import { killAtEachStep } from '../support/rotation/killed-password.ts'
import { PLACES } from '../support/rotation/places.ts'
import { ROTATION_SIDES } from '../support/rotation/sides.ts'

for (const [place, startPlace] of Object.entries(PLACES)) {
  // Vault is in rotation-killed.test.ts, with all servers.
  if (place === 'Vault') continue
  for (const [side, startSide] of Object.entries(ROTATION_SIDES)) {
    if (side === 'PostgreSQL 18') continue
    // They are read and written as the others; one server is enough.
    if (side === 'SQL Server' && (place === 'the AWS Parameter Store' || place === 'a file')) continue
    test(
      `${side}, ${place}: a rotation that is killed at any step is finished by the same call, and no statement fails`,
      {
        timeout: 300_000,
      },
      () => killAtEachStep(startSide, startPlace),
    )
  }
}
