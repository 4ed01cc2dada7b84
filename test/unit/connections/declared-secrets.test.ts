import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isPathName, readExtra } from '../../../src/connections/extra.ts'
import { Secret } from '../../../src/secret.ts'
import { OPTION_SPELLINGS } from '../../support/option-tables.ts'

// A connection is parsed, and may be printed, before anybody knows which tables of options will read its extras.
describe('tables of options and the names of secrets and paths, which hold before a table is known', () => {
  it('agree on every option', () => {
    const declared = OPTION_SPELLINGS.map(({ field }) => field.secret)
    assert.ok(declared.includes(true) && declared.includes(false))
    for (const { key, field } of OPTION_SPELLINGS) {
      const hidden = readExtra({ [key]: '/x' }).extra[key] instanceof Secret
      assert.equal(hidden, field.secret, `${key} is ${field.secret ? '' : 'not '}declared as a secret`)
    }
  })
  it('agree on every path, so that a key in place of one is hidden', () => {
    for (const { key, field } of OPTION_SPELLINGS) {
      assert.equal(isPathName(key), field.type.startsWith('path'), `${key} is declared as ${field.type}`)
    }
  })
})
