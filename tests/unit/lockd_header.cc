/* SPDX-License-Identifier: Apache-2.0
 *
 * lockd_header.cc -- lockd.h is a header of C++ too.
 */
#include <lockd.h>

int main()
{
    lockd_client *client = nullptr;
    lockd_client_options options{};
    options.size = sizeof options;
    options.endpoints = "nonsense:x";
    return lockd_client_new(&options, &client) == LOCKD_E_INVALID ? 0 : 1;
}
