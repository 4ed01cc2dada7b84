/** Arguments of Airflow in our words for the options of a store. */

import { parseFields } from '../../connections/fields.ts'
import type { Reference } from '../../connections/reference.ts'
import { ConfigError, type ConfigProblem } from '../../errors.ts'
import { CachedReader } from '../cache.ts'
import { loginFields, type StoreFieldValues, storeFields } from '../fields.ts'
import type { StoreKindContext } from '../kind.ts'
import { OpenStores } from '../open.ts'
import { storeProblems } from '../problems.ts'

/** The options that arguments stand for, by the names of the arguments. */
export type OptionsByArgument = Readonly<Record<string, readonly [option: string, value: unknown]>>

/** @throws ConfigError with the problems, if any, under the names that their author wrote */
export function refuse(problems: readonly ConfigProblem[], options: OptionsByArgument, subject: string): void {
  if (problems.length === 0) return
  const inTheirWords = problems.map(({ path, message }) => {
    const [argument] = Object.entries(options).find(([, [option]]) => path === `extra.${option}`) ?? []
    return { path: argument ?? path, message }
  })
  throw new ConfigError(inTheirWords, { subject })
}

/**
 * The reader of the secrets that references of one scheme name.
 *
 * @param example a path as the store has it, with which the options are checked
 * @param assumeRole more arguments of AWS' AssumeRole
 * @throws ConfigError
 */
export function schemeReader(
  scheme: Reference['scheme'],
  example: string,
  options: OptionsByArgument,
  context: StoreKindContext,
  assumeRole?: Readonly<Record<string, unknown>>,
): CachedReader {
  const { environment, subject, emit, agents } = context
  const given = Object.fromEntries(Object.values(options))
  const { values, problems } = parseFields({ ...storeFields, ...loginFields([scheme], {}) }, given)
  const reference = { scheme, path: example, field: undefined }
  const own = values as StoreFieldValues
  refuse([...problems, ...storeProblems(new Map([['', { reference }]]), own, environment, {})], options, subject)
  const connections = (): never => {
    throw new Error('The reference is to a store of secrets.')
  }
  const stores = new OpenStores(own, {
    environment,
    connection: {},
    connections,
    agents,
    assumeRole,
    emit: emit ?? (() => undefined),
  })
  return new CachedReader(stores.open(reference), context)
}
