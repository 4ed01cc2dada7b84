import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { fieldsReference } from '../../../scripts/fields-reference.ts'
import { boolean, integer, list, oneOf, seconds, secret, text } from '../../../src/connections/fields.ts'
import { Secret } from '../../../src/secret.ts'

describe('fieldsReference', () => {
  it('renders each field as a row of a Markdown table', () => {
    const reference = fieldsReference({
      sslmode: oneOf(['disable', 'require'], {
        default: 'require',
        description: 'Use of TLS.',
        aliases: ['ssl_mode', 'tls'],
      }),
      port: integer({ min: 1, max: 9, default: 5, description: 'a | b\nand more' }),
      wait: seconds({ description: 'Time.' }),
      ping: boolean({ default: false, description: 'Ping.' }),
      key: secret({ description: 'Key.', default: new Secret('hunter2') }),
      hosts: list({ description: 'Hosts.', default: ['a', 'b'] }),
      none: list({ description: 'None.', default: [] }),
      name: text({ description: 'Name.', default: 'x' }),
    })
    assert.equal(
      reference,
      [
        '| Name | Type | Default | Meaning |',
        '| --- | --- | --- | --- |',
        '| `sslmode` | `disable \\| require` | `require` | Use of TLS. Also: `ssl_mode`, `tls`. |',
        '| `port` | `integer from 1 to 9` | `5` | a \\| b and more |',
        '| `wait` | `seconds` |  | Time. |',
        '| `ping` | `boolean` | `false` | Ping. |',
        '| `key` | `secret` |  | Key. |',
        '| `hosts` | `list` | `a,b` | Hosts. |',
        '| `none` | `list` |  | None. |',
        '| `name` | `string` | `x` | Name. |',
        '',
      ].join('\n'),
    )
  })
})
