import { didYouMean, nearest } from '../did-you-mean.ts'
import { ConfigError, type ConfigProblem } from '../errors.ts'
import { EVENT_NAMES } from '../events.ts'

/**
 * Checks the options of a call at run time, for programs that are not type-checked. Options that are also extras are
 * checked together with the extras.
 *
 * @throws ConfigError with all problems
 */
export function checkCallOptions(options: unknown): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    refuse([{ path: '', message: 'expected an object with options' }])
  const problems: ConfigProblem[] = []
  const hook: unknown = Reflect.get(options as object, 'onSession')
  if (hook !== undefined && typeof hook !== 'function') refuse([{ path: 'onSession', message: 'expected a function' }])
  const on: unknown = Reflect.get(options as object, 'on')
  if (on === undefined) return
  if (typeof on !== 'object' || on === null) refuse([{ path: 'on', message: 'expected an object with listeners' }])
  for (const [name, listener] of Object.entries(on as object)) {
    const path = `on.${name}`
    if (!EVENT_NAMES.includes(name)) {
      const near = nearest(name, EVENT_NAMES)
      const told = near === undefined ? `one of ${EVENT_NAMES.join(', ')}` : didYouMean([near])
      problems.push({ path, message: `there is no such event; ${told}` })
    } else if (listener !== undefined && typeof listener !== 'function') {
      problems.push({ path, message: 'expected a function' })
    }
  }
  if (problems.length > 0) refuse(problems)
}

function refuse(problems: readonly ConfigProblem[]): never {
  throw new ConfigError(problems, {
    subject: 'The second argument',
    hint: 'docs/events.md lists the events, docs/extras.md the options.',
  })
}
