// Tests of the native part that need no Python; the sanitizers and the emulator of another processor run them.
//   native_test          all of them
//   native_test WORD     those whose name holds the word
#include <cstring>

#include "testing.hpp"

int main(int count, char** arguments) {
    const auto names = striate::isas();
    for (const auto& name : names) std::printf("isa %s\n", name.c_str());
    int failures = names.empty();
    for (const testing::Test& test : testing::tests()) {
        if (count > 1 && !std::strstr(test.name, arguments[1])) continue;
        try {
            test.body();
            std::printf("passed %s\n", test.name);
        } catch (const testing::Skipped& skipped) {
            std::printf("skipped %s: %s\n", test.name, skipped.reason);
        } catch (const std::exception& error) {
            failures++;
            std::printf("FAILED %s: %s\n", test.name, error.what());
        }
        std::fflush(stdout);
    }
    return failures != 0;
}
