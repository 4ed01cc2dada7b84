/** The cost of validating an API key whose index is in memory, for the suite `audit`. */

import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { openApiKeys } from '../src/rotation/index.ts'
import { temporaryFolder } from '../test/support/folder.ts'
import type { Result } from './measure.ts'

const MOST_MICROS = 5
const VALIDATIONS = 20_000
const ROUNDS = 15
const SERVICES = 50

export async function validation(): Promise<Result> {
  await using folder = await temporaryFolder()
  const environment = {
    POOLSMITH_SECRETS_FILE: join(folder.path, 'secrets'),
    POOLSMITH_SECRETS_KEY: randomBytes(32).toString('base64'),
  }
  using keys = await openApiKeys('encrypted:api-keys', { environment, ttl: 3600 })
  for (let count = 1; count < SERVICES; count++) await keys.generate(`service-${count}`)
  const key = (await keys.generate('billing')).key.reveal()
  const micros: number[] = []
  for (let round = 0; round <= ROUNDS; round++) {
    // The time of the processor: other programs may run at the same time.
    const begin = process.cpuUsage()
    for (let count = 0; count < VALIDATIONS; count++) {
      if ((await keys.validate(key)) === undefined) throw new Error('The key is not valid.')
    }
    const { user, system } = process.cpuUsage(begin)
    // The first round warms up.
    if (round > 0) micros.push((user + system) / VALIDATIONS)
  }
  const ours = micros.sort((a, b) => a - b)[Math.floor(ROUNDS / 2)] ?? Number.POSITIVE_INFINITY
  const name = `validating an API key from the cache (bound: ${MOST_MICROS} us)`
  const ratio = ours / MOST_MICROS
  return { name, ours: Number(ours.toFixed(2)), peer: MOST_MICROS, unit: 'us', ratio, bound: 1, met: ratio <= 1 }
}
