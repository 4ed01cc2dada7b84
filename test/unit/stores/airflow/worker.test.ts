/** The variables by which an Airflow worker names its secrets backend. */

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigError } from '../../../../src/errors.ts'
import { workerBackend } from '../../../../src/stores/airflow/worker.ts'

const KWARGS = 'AIRFLOW__SECRETS__BACKEND_KWARGS'

async function argumentsOf(environment: Readonly<Record<string, string>>): Promise<Record<string, unknown>> {
  const { settings } = await workerBackend({ AIRFLOW__SECRETS__BACKEND: 'vault', ...environment })
  const { type, ...given } = settings
  assert.equal(type, 'vault')
  return given
}

async function refusal(environment: Readonly<Record<string, string>>): Promise<ConfigError> {
  const error = await argumentsOf(environment).catch((reason: unknown) => reason)
  assert.ok(error instanceof ConfigError, String(error))
  return error
}

test('the JSON of the arguments names other variables, as Airflow expands them', async () => {
  const environment = {
    TOKEN: 's.one',
    HOST: `\${NAME}.example.com`,
    NAME: 'vault',
    [KWARGS]: `{"url": "https://$HOST:8200", "token": "\${TOKEN}", "mount_point": "$NOT_SET", "namespace": "a$"}`,
  }
  assert.deepEqual(await argumentsOf(environment), {
    url: 'https://vault.example.com:8200',
    token: 's.one',
    mount_point: '$NOT_SET',
    namespace: 'a$',
  })
})

test('a single argument is taken as it is, and so is what a command prints', async () => {
  const single = { TOKEN: 's.one', AIRFLOW__SECRETS__BACKEND_KWARG__TOKEN: '$TOKEN' }
  assert.deepEqual(await argumentsOf(single), { token: '$TOKEN' })
  const command = `"${process.execPath}" -p 'JSON.stringify({ token: "$TOKEN" })'`
  assert.deepEqual(await argumentsOf({ TOKEN: 's.one', [`${KWARGS}_CMD`]: command }), { token: '$TOKEN' })
})

test('variables that refer to themselves are refused, without their values', async () => {
  for (const A of ['$A x', '$B$B', `\${B}`]) {
    const error = await refusal({ A, B: 's.one $A', [KWARGS]: '{"token": "$A"}' })
    assert.match(error.message, /AIRFLOW__SECRETS__BACKEND_KWARGS: the variables that it names refer to themselves/)
    assert.doesNotMatch(error.message, /s\.one/)
  }
})

test('a command gets no input, and the error says how it failed without what it printed', async () => {
  const run = (script: string) => refusal({ [`${KWARGS}_CMD`]: `"${process.execPath}" -e '${script}'` })
  const cases: readonly (readonly [script: string, message: RegExp])[] = [
    ['process.stdin.pipe(process.stdout)', /the command printed nothing$/],
    ['console.log("hush"); console.error("hush"); process.exit(3)', /the command failed \(exit code 3\)$/],
    ['console.log("hush")', /is not valid JSON$/],
    ['console.log("[]")', /expected a JSON object$/],
    ['console.log("hush".repeat(1e6))', /the command printed more than \d+ bytes$/],
  ]
  for (const [script, message] of cases) {
    const error = await run(script)
    assert.match(error.message, message)
    assert.match(error.message, /AIRFLOW__SECRETS__BACKEND_KWARGS_CMD: /)
    assert.doesNotMatch(`${error.message} ${error.hint} ${JSON.stringify(error)}`, /hush/)
  }
  const missing = await refusal({ [`${KWARGS}_CMD`]: '/not/there --token hush' })
  assert.match(missing.message, /the command could not be started \(ENOENT\)$/)
  assert.match(missing.hint ?? '', /^Run it by hand as this user/)
})

test('a place for the arguments in the backend itself is refused by name', async () => {
  const error = await refusal({ [`${KWARGS}_SECRET`]: 'kwargs' })
  assert.match(error.message, /AIRFLOW__SECRETS__BACKEND_KWARGS_SECRET: is not supported/)
})
