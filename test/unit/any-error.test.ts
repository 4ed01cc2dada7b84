import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import { createContext, runInContext } from 'node:vm'
import { asError, errorCode, errorText, isAggregate, isError } from '../../src/any-error.ts'

/** Another realm; `sandbox` holds values of this one. */
const other = (code: string): unknown => runInContext(code, createContext({ DOMException }))

/** An error of Node's own modules, as a program sees it. */
function noFile(): unknown {
  try {
    return readFileSync('/nonexistent/file')
  } catch (error) {
    return error
  }
}

describe('errors of every realm', () => {
  for (const [what, value] of Object.entries({
    'of this one': new TypeError('word'),
    'of another one': other('new TypeError("word")'),
    'of a class of another one': other('(class Own extends Error {}, new (class Own extends Error {})("word"))'),
    'a DOMException': new DOMException('word', 'AbortError'),
  })) {
    test(what, () => {
      assert.equal(isError(value), true)
      assert.equal(errorText(value), 'word')
      assert.equal(asError(value), value)
    })
  }

  test('an aggregate of another realm', () => {
    assert.equal(isAggregate(other('new AggregateError([new Error("part")])')), true)
    assert.equal(isAggregate(other('new Error("alone")')), false)
  })
})

test('values that are no errors', () => {
  for (const value of [undefined, null, 'word', 7, {}, { message: 'word' }, other('({ message: "word" })')]) {
    assert.equal(isError(value), false)
    assert.equal(errorText(value), String(value))
    assert.equal(asError(value).message, String(value))
  }
})

test('the code of an error, of a plain object that was sent by another process, and of nothing', () => {
  assert.equal(errorCode(noFile()), 'ENOENT')
  assert.equal(errorCode(other('Object.assign(new Error("x"), { code: "42P01" })')), '42P01')
  assert.equal(errorCode({ code: 'ECONNRESET' }), 'ECONNRESET')
  for (const value of [undefined, null, 'ENOENT', new Error('x'), { code: 7 }])
    assert.equal(errorCode(value), undefined)
})
