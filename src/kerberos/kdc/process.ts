/** The program of the process that asks the KDC; see ask.ts. It ends when the process that started it does. */

import { isError } from '../../any-error.ts'
import { PoolsmithError } from '../../errors.ts'
import { exitAtOnce } from '../native/flock.ts'
import type { Answer, Question } from './messages.ts'
import { enter } from './messages.ts'
import { TASKS } from './tasks.ts'

process.on('message', (question: Question) => {
  answer(question).then((given) => {
    // The other process may have ended meanwhile.
    if (process.connected) process.send?.(given, () => undefined)
  })
})

// A call that hangs on a thread would hold up an orderly end.
process.on('disconnect', () => exitAtOnce(0))

async function answer({ id, surroundings, task, request }: Question): Promise<Answer> {
  try {
    enter(surroundings)
    const run: (request: unknown) => Promise<unknown> = TASKS[task] as never
    return { id, result: await run(request) }
  } catch (error) {
    if (error instanceof PoolsmithError) {
      const { message, code, phase, hint, transient, details } = error
      return { id, failure: { message, options: { code, phase, hint, transient, details } } }
    }
    return { id, failure: { message: isError(error) ? (error.stack ?? error.message) : String(error) } }
  }
}
