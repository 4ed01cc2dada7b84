/** A secrets backend of Airflow and ours, asked the same questions. */

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { PoolsmithError } from '../../../src/errors.ts'
import { findConnection } from '../../../src/stores/resolve.ts'
import { openStores } from '../../../src/stores/stores.ts'
import { type Opening, openSettings } from '../../support/airflow-store.ts'
import { pythonOf } from '../../support/interop.ts'

type Kwargs = Readonly<Record<string, unknown>>

export interface Question {
  readonly class: string
  readonly kwargs: Kwargs
  readonly kind: 'connection' | 'variable' | 'config'
  readonly id: string
}

/** An entry, null for one that is not defined, or the failure. */
export type Answer = { readonly value: unknown } | { readonly error: string }

export interface Asking {
  /** An empty folder, for Airflow's own files. */
  readonly home: string
  /** Variables of Airflow's process. */
  readonly theirs?: Readonly<Record<string, string>>
  /** Where ours is opened. Default: by the variables of a worker. */
  readonly ours?: Opening & { readonly kwargs?: Kwargs }
}

export const connection = (name: string, kwargs: Kwargs, id: string): Question => {
  return { class: name, kwargs, kind: 'connection', id }
}

export async function askAirflow(questions: readonly Question[], { home, theirs }: Asking): Promise<readonly Answer[]> {
  const { PATH } = process.env
  const env = { PATH, HOME: home, AIRFLOW_HOME: home, AWS_EC2_METADATA_DISABLED: 'true', ...theirs }
  const child = spawn(pythonOf('stores'), [join(import.meta.dirname, 'ask_backends.py')], { env })
  child.stdin.end(JSON.stringify(questions))
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)])
  const line = output.trim().split('\n').at(-1) ?? ''
  assert.ok(line.startsWith('['), errors.slice(-2000))
  return JSON.parse(line) as Answer[]
}

async function optionsOf(name: string, kwargs: Kwargs, { home: cwd, ours }: Asking) {
  const worker = { AIRFLOW__SECRETS__BACKEND: name, AIRFLOW__SECRETS__BACKEND_KWARGS: JSON.stringify(kwargs) }
  if (ours === undefined) return { environment: worker, cwd }
  return { environment: {}, stores: [await openSettings({ type: name, ...kwargs, ...ours.kwargs }, ours)], cwd }
}

export async function askOurs({ class: name, kwargs, kind, id }: Question, asking: Asking): Promise<Answer> {
  try {
    const options = await optionsOf(name, kwargs, asking)
    if (kind !== 'connection') {
      await using stores = openStores(options)
      const found = await (kind === 'variable' ? stores.getVariable(id) : stores.getConfig(id))
      return { value: found?.reveal() ?? null }
    }
    const { type, host, login, password, database, port, extra } = await findConnection(id, options)
    const parts = { conn_type: type, host, login, password: password?.reveal(), schema: database, port, extra }
    return { value: Object.fromEntries(Object.entries(parts).map(([part, value]) => [part, value ?? null])) }
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, String(error))
    return error.code === 'CONNECTION_NOT_FOUND' ? { value: null } : { error: error.code }
  }
}

/** Empty parts and parts that are not there are the same connection. */
function plain(answer: Answer): Answer {
  if (!('value' in answer) || typeof answer.value !== 'object' || answer.value === null) return answer
  const parts = Object.entries(answer.value).map(([part, value]) => [part, value === '' ? null : value])
  return { value: Object.fromEntries(parts) }
}

/** Both give the same values. @returns Airflow's */
export async function compare(
  questions: Readonly<Record<string, Question>>,
  asking: Asking,
): Promise<readonly Answer[]> {
  const theirs = await askAirflow(Object.values(questions), asking)
  for (const [index, [what, question]] of Object.entries(questions).entries()) {
    assert.deepEqual(plain(await askOurs(question, asking)), plain(theirs[index] as Answer), what)
  }
  return theirs
}

/** Airflow reads what ours has written, and written again. */
export async function compareWritten(name: string, kwargs: Kwargs, asking: Asking): Promise<void> {
  await using stores = openStores(await optionsOf(name, kwargs, asking))
  const parts = { type: 'postgres', host: 'Db', login: 'etl', database: 'sales', port: 5433 } as const
  const extra = { sslmode: 'require', connect_timeout: 3 }
  for (const password of ['one', 'p@ss "wörd"']) await stores.setConnection('written', { ...parts, password, extra })
  for (const value of ['one', 'brönze']) await stores.setVariable('written', value)
  const variable: Question = { class: name, kwargs, kind: 'variable', id: 'written' }
  // A store may answer from a cache of its own for a moment.
  while (!isDeepStrictEqual(await askOurs(variable, asking), { value: 'brönze' })) await sleep(50)
  const written = connection(name, kwargs, 'written')
  const theirs = await compare({ 'the connection': written, 'the variable': variable }, asking)
  assert.match(JSON.stringify(theirs), /"password":"p@ss \\"wörd\\""/)
}

/** Both fail as it is said. Airflow's answer may be that nothing is defined, which is never ours. */
export async function compareFailures(
  cases: readonly (readonly [question: Question, theirs: Answer, ours: string])[],
  asking: Asking,
): Promise<void> {
  const theirs = await askAirflow(
    cases.map(([question]) => question),
    asking,
  )
  for (const [index, [question, expected, code]] of cases.entries()) {
    assert.deepEqual(theirs[index], expected, JSON.stringify(question))
    assert.deepEqual(await askOurs(question, asking), { error: code }, JSON.stringify(question))
  }
}
