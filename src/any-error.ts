/**
 * The nature of a caught value, in every realm: under Jest and in a context of `node:vm`, an error of Node's own modules is no
 * instance of the `Error` that this code sees, so `instanceof` would take it for something unknown.
 */

import { types } from 'node:util'

/** Whether a value is an error, of this realm or another one; `DOMException` is one too. */
export function isError(value: unknown): value is Error {
  return (
    value instanceof Error ||
    types.isNativeError(value) ||
    Object.prototype.toString.call(value) === '[object DOMException]'
  )
}

/** Whether an error holds others, as `AggregateError` does. */
export function isAggregate(value: unknown): value is AggregateError {
  return isError(value) && 'errors' in value && Array.isArray(value.errors)
}

/** The `code` of a system's, a driver's or our own error, such as `ENOENT` or `42P01`; of any object that has one. */
export function errorCode(value: unknown): string | undefined {
  const code = typeof value === 'object' && value !== null && 'code' in value ? value.code : undefined
  return typeof code === 'string' ? code : undefined
}

/** The message of an error; any other value as text. */
export function errorText(value: unknown): string {
  return isError(value) ? value.message : String(value)
}

/** The value itself when it is an error, else an error with its text. */
export function asError(value: unknown): Error {
  return isError(value) ? value : new Error(String(value))
}
