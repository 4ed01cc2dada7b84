/** Part of the TDS server test double: system procedures, called by name or in the text of a batch. */

import type { Backend } from './backend.ts'
import type { Journal } from './options.ts'
import type { Parameter } from './parameters.ts'
import type { Response } from './response.ts'
import { describeParameters, PROCEDURES } from './system-procedures.ts'
import { returnValue } from './tokens.ts'
import { type Globals, SqlError, type Translated } from './translate.ts'
import { items, type Token, temporaryTables, tokenize, wordOf } from './tsql.ts'
import { type TdsType, typeOf } from './types.ts'

/** A statement with the declaration of its parameters. */
export interface Prepared {
  readonly sql: string
  readonly declared: string
}

/** The session that the procedures run in. */
interface Surroundings {
  readonly backend: Backend
  readonly database: string
  readonly journal: Journal
  lockTimeout: number
  formatOnly: boolean
  globals(): Globals
  /** @returns the variables at the end */
  run(sql: string, parameters: readonly Parameter[], response: Response): Promise<readonly Parameter[]>
  send(statement: Translated, response: Response): Promise<void>
}

export class Procedures {
  readonly #batches: Surroundings

  constructor(batches: Surroundings) {
    this.#batches = batches
  }

  /** `EXEC name argument, @name = argument`, from the name on, which may have database and schema in front. */
  async execute(words: readonly Token[], variables: Parameter[], response: Response): Promise<void> {
    let at = 0
    while (words[at]?.text === '.' || words[at + 1]?.text === '.') at++
    const name = words[at]?.text ?? ''
    const given = argumentsOf(words.slice(at + 1), variables)
    const last = await this.call(name, given, response)
    for (const [index, { output }] of given.entries()) {
      const to = variables.findIndex((one) => one.name.toLowerCase() === output?.toLowerCase())
      const known = variables[to]
      if (known !== undefined) variables[to] = { ...known, value: last[index]?.value ?? null }
    }
  }

  /** @returns the last values of the parameters, where the procedure sets them */
  async call(name: string, parameters: readonly Parameter[], response: Response): Promise<readonly Parameter[]> {
    const [first, second] = parameters.map(({ value }) => value ?? '')
    // ODBC names the schema too.
    const procedure = name.toLowerCase().replace(/^\[sys\]\./, '')
    if (procedure === 'sp_executesql') {
      const [statement, declaration, ...values] = parameters
      const prepared = { sql: statement?.value ?? '', declared: declaration?.value ?? '' }
      return [...parameters.slice(0, 2), ...(await this.executeSql(prepared, values, response))]
    }
    if (procedure === 'sp_describe_undeclared_parameters') {
      const { backend } = this.#batches
      const session = { backend, globals: this.#batches.globals() }
      await this.#batches.send(await describeParameters(session, first ?? '', second ?? ''), response)
      return []
    }
    const known = PROCEDURES[procedure]
    if (known === undefined) throw new SqlError(2812, 62, 16, `Could not find stored procedure '${name}'.`)
    const values = known.parameters.map((wanted, index) => {
      const byName = parameters.find((one) => one.name.toLowerCase() === wanted)
      const byPosition = parameters[index]?.name === '' ? parameters[index] : undefined
      return (byName ?? byPosition)?.value ?? null
    })
    await this.#batches.send({ text: known.sql(this.#batches.database), values }, response)
    return []
  }

  /** A statement in a scope of its own, whose end drops its temporary tables and restores its settings. */
  async executeSql(
    { sql, declared }: Prepared,
    values: readonly Parameter[],
    response: Response,
  ): Promise<readonly Parameter[]> {
    if (declared !== '') this.#batches.journal.declarations.push(declared)
    const { lockTimeout, formatOnly } = this.#batches
    try {
      const variables = await this.#batches.run(sql, named(values, declared), response)
      for (const [index, { isOutput, name, ordinal }] of values.entries()) {
        const last = variables[index]
        if (isOutput === true && last !== undefined) {
          response.returns(returnValue(name === '' ? '' : `@${name}`, outputType(last), last.value, ordinal))
        }
      }
      for (const name of temporaryTables(sql)) {
        await this.#batches.backend.execute(`drop table if exists pg_temp."${name.replaceAll('"', '""')}"`)
      }
      return variables
    } finally {
      Object.assign(this.#batches, { lockTimeout, formatOnly })
    }
  }
}

/** Values without a name belong to the declarations in their order, as JDBC and ODBC send them. */
export function named(values: readonly Parameter[], declared: string): Parameter[] {
  const names = items(tokenize(declared)).map((one) => one.find(({ kind }) => kind === 'variable')?.text ?? '')
  return values.map((value, index) => (value.name === '' ? { ...value, name: names[index] ?? '' } : value))
}

interface Argument extends Parameter {
  /** The variable that gets the last value. */
  readonly output: string | undefined
}

function argumentsOf(words: readonly Token[], variables: readonly Parameter[]): Argument[] {
  return items(words)
    .filter((one) => one.length > 0)
    .map((one) => {
      const isNamed = one[0]?.kind === 'variable' && one[1]?.text === '='
      const given = isNamed ? one.slice(2) : one
      const isOutput = ['out', 'output'].includes(wordOf(given[1]) ?? '')
      const output = isOutput ? given[0]?.text : undefined
      return { name: isNamed ? (one[0]?.text ?? '') : '', output, ...argumentValue(given, variables) }
    })
}

function argumentValue(words: readonly Token[], variables: readonly Parameter[]): Pick<Parameter, 'cast' | 'value'> {
  const [first] = words
  switch (first?.kind) {
    case 'variable': {
      const found = variables.find(({ name }) => name.toLowerCase() === first.text.toLowerCase())
      if (found === undefined) throw new SqlError(137, 2, 15, `Must declare the scalar variable "@${first.text}".`)
      return { cast: found.cast, value: found.value }
    }
    case 'string':
      return { cast: undefined, value: first.text.slice(1, -1).replaceAll("''", "'") }
    case 'name':
      return { cast: undefined, value: ['null', 'default'].includes(wordOf(first) ?? '') ? null : first.text }
    default:
      return { cast: undefined, value: words.map(({ text }) => text).join('') }
  }
}

/** PostgreSQL's ids of the types that {@link file://./parameters.ts} casts to. */
const TYPES: Readonly<Record<string, number>> = { bigint: 20, integer: 23, smallint: 21, boolean: 16, uuid: 2950 }

function outputType({ cast = '' }: Parameter): TdsType {
  if (cast === 'double precision') return typeOf(701, -1, new Map())
  return typeOf(TYPES[cast] ?? 1043, -1, new Map())
}
