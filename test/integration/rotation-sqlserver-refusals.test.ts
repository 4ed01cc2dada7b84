/** The errors by which SQL Server refuses to set a password, by their numbers in Microsoft's documentation. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ChangeRefusal, ChangeRefused } from '../../src/rotation/server/change.ts'
import { changeSqlServerPassword } from '../../src/rotation/server/sqlserver.ts'
import { Secret } from '../../src/secret.ts'
import { open } from '../support/tds/driver.ts'
import { driverFor, SA, sa, sqlServerSetup } from '../support/tds/setup.ts'

const { caFile, start } = await sqlServerSetup()

/** sys.messages. A reason that is missing: the error of the statement is told, and nothing is known of the password. */
const REFUSALS: readonly (readonly [number: number, message: string, reason?: ChangeRefusal])[] = [
  [15113, 'Too many failed login attempts. This account has been temporarily locked.', 'locked'],
  [15114, 'Password validation failed. The password for the user is too recent to change.', 'age'],
  [15115, 'Password validation failed. The password cannot be used at this time.', 'password'],
  [15116, 'Password validation failed. ... because it is too short.', 'password'],
  [15117, 'Password validation failed. ... because it is too long.', 'password'],
  [15118, 'Password validation failed. ... because it is not complex enough.', 'password'],
  [15119, 'Password validation failed. ... the requirements of the password filter DLL.', 'password'],
  [15120, 'An unexpected error occurred during password validation.'],
  [15121, 'An error occurred during the execution of NetValidatePasswordPolicy.'],
  [15122, 'The CHECK_EXPIRATION option cannot be used when CHECK_POLICY is OFF.'],
  [15151, "Cannot alter the login 'sa', because it does not exist or you do not have permission.", 'rights'],
  [15156, 'The password that you specified is too long.', 'password'],
  [15247, 'User does not have permission to perform this action.', 'rights'],
  [33062, 'Password validation failed. ... SQL Server password policy ... too short.', 'password'],
  [33063, 'Password validation failed. ... SQL Server password policy ... too long.', 'password'],
  [33064, 'Password validation failed. ... SQL Server password policy ... not complex enough.', 'password'],
  [40630, 'Password validation failed. ... policy requirements because it is too short.', 'password'],
  [40631, 'The password that you specified is too long.', 'password'],
  [40632, 'Password validation failed. ... policy requirements because it is not complex enough.', 'password'],
]

test('a refused password change has the reason of its error number', async () => {
  await using server = await start()
  const { driver } = driverFor(server, caFile)
  for (const [number, message, reason] of REFUSALS) {
    const { raw } = await open(driver, sa())
    // The first request takes the lock of the rotation.
    server.faults.add({ at: 'request', fault: { do: 'refuse', number, message }, after: 1, times: 1 })
    let told = 0
    let checked = 0
    const change = {
      user: 'sa',
      next: new Secret('Next-password-1'),
      old: new Secret(SA),
      assertPending: async () => void checked++,
      onRefused: async () => void told++,
    }
    const error: unknown = await changeSqlServerPassword(raw, change).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    assert.ok(error instanceof Error, `${number} is no error`)
    assert.ok(error.message.includes(message), `${number}: ${error.message}`)
    assert.equal(error instanceof ChangeRefused ? error.reason : undefined, reason, String(number))
    assert.deepEqual([checked, told], [1, reason === undefined ? 0 : 1])
    await driver.close(raw)
  }
})
