/** Arguments that are cut off, damaged or enormous: the command line or the connection is wrong, and nothing crashes. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { COMMANDS } from '../../../src/cli/commands.ts'
import { EXIT_CODES } from '../../../src/cli/exit-codes.ts'
import { damages, truncations } from '../../support/bad-strings.ts'
import { poolsmith } from '../../support/cli-in-process.ts'

const PASSWORD = 'Zq9!kWv3#pLx7'
const URI = `postgres://etl:${encodeURIComponent(PASSWORD)}@db.test/sales?sslmode=verify-full`

async function refused(args: readonly string[]): Promise<void> {
  const { code, out, log } = await poolsmith(args)
  const told = out + log
  const shown = `${JSON.stringify(args).slice(0, 200)}: ${code} ${told.slice(0, 500)}`
  assert.notEqual(code, EXIT_CODES.unexpected, shown)
  assert.notEqual(code, EXIT_CODES.success, shown)
  assert.ok(told.length < 20_000, 'the answer stays short')
  assert.ok(!/[^\P{Cc}\n]/u.test(told), shown)
  for (const piece of [PASSWORD, encodeURIComponent(PASSWORD), PASSWORD.slice(0, 6)])
    assert.ok(!told.includes(piece), shown)
}

/** Arguments that no command accepts: the connection of this id does not exist. */
const CALLS: Readonly<Record<string, readonly string[]>> = {
  check: ['no_such'],
  connections: [],
  extract: ['no_such', 'public.flights', '--to', '/nonexistent/poolsmith'],
  ticket: ['status', '--ccache', '/nonexistent/poolsmith'],
}

for (const command of COMMANDS) {
  const call = CALLS[command.name] ?? []

  test(`every option of ${command.name}, damaged or enormous`, async () => {
    for (const [name, { type }] of Object.entries(command.options)) {
      if (type === 'boolean') continue
      for (const value of damages('some,value')) {
        for (const args of [
          [command.name, ...call, `--${name}`, value],
          [command.name, ...call, `--${name}=${value}`, '--json'],
        ]) {
          const { code, out, log } = await poolsmith(args)
          const told = out + log
          assert.notEqual(code, EXIT_CODES.unexpected, `--${name}: ${told.slice(0, 500)}`)
          assert.ok(told.length < 20_000, `--${name}: the answer stays short`)
          assert.ok(!/[^\P{Cc}\n]/u.test(told), `--${name}`)
        }
      }
    }
  })

  test(`every argument of ${command.name}, damaged or enormous`, async () => {
    for (let place = 0; place <= call.length; place++) {
      for (const value of damages('some,value')) {
        const args = [...call]
        args[place] = value
        const { code, out, log } = await poolsmith([command.name, ...args])
        assert.notEqual(code, EXIT_CODES.unexpected, (out + log).slice(0, 500))
        assert.ok((out + log).length < 20_000, 'the answer stays short')
      }
    }
  })
}

test('a connection on the command line, cut off at each character, damaged or enormous, is refused without its password', async () => {
  // Whole parts would be looked up in the network.
  const broken = [...truncations(URI).filter((text) => !text.includes('@')), ...damages(URI)]
  for (const value of broken) {
    await refused(['check', `${value}&sslmode=no`])
    await refused(['check', value, 'too many'])
    await refused(['check', value, '--no-such-option'])
    await refused(['check', `--timeout=${value}`, 'x'])
    await refused([value])
  }
})
