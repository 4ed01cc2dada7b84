import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StoredSecret } from '../../../src/vault/stored-secret.ts'

const PLACE = 'The secret prod/sales'

test('a field that is missing is reported with those that are there', () => {
  assert.throws(() => new StoredSecret({ user: 'etl' }).read('password', PLACE), {
    message: 'The secret prod/sales has no field password; it has the fields user.',
    hint: 'Name one of them behind #.',
  })
  assert.throws(() => new StoredSecret({}).read('password', PLACE), {
    message: 'The secret prod/sales has no field password; it has no fields.',
    hint: 'Write the field into the secret.',
  })
})

test('where the field is a reference to another place, the hint says to write that reference', () => {
  assert.throws(() => new StoredSecret({ password_from: 'vault:secret/sales#password' }).read('password', PLACE), {
    code: 'SECRET_FIELD_MISSING',
    hint: 'Its password_from is a reference itself: write that reference here.',
  })
})

test('a field that is no text is named within the sentence', () => {
  assert.throws(() => new StoredSecret({ password: { hash: 'x' } }).read('password', PLACE), {
    message: 'The field password of the secret prod/sales is an object or a list, and a text is needed.',
  })
})
