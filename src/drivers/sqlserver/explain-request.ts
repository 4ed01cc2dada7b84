import { withDoubt } from '../statement-error.ts'

interface Answered {
  callback: (error: Error | null | undefined, ...rest: unknown[]) => void
}

/**
 * Lets a request's callback have the error in other words, this time that it is made.
 *
 * @param isCommit whether it ends a transaction that stays open until the server answers
 */
export function explainTo(given: object, explain: (error: Error) => Error, isCommit: boolean): void {
  const request = given as Answered
  const { callback } = request
  request.callback = (error, ...rest) => {
    request.callback = callback
    if (!error) callback.call(request, error, ...rest)
    else callback.call(request, isCommit ? withDoubt(explain(error)) : explain(error), ...rest)
  }
}
