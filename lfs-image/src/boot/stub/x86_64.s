# The EFI stub for x86-64: starts the Linux kernel that lies beside it in the same PE image.
#
# The firmware has loaded the whole image; this code is its section at RVA 0x1000. The words at `parameters` say
# where the others are. Microsoft's calling convention: rcx, rdx, r8, r9, then the stack above 32 bytes of shadow.
#
#   1  find out on which device we were                  HandleProtocol(self, LoadedImage)
#   2  offer the initial RAM disk, if there is one       InstallProtocolInterface(DevicePath, LoadFile2)
#   3  load the kernel from memory                       LoadImage
#   4  give it its command line                          HandleProtocol(kernel, LoadedImage)
#   5  start it                                          StartImage
#
# It doesn't come back unless a step failed: then the step and the firmware's status are shown for ten seconds.
#
# The code holds no absolute address, so it needs no relocations, and it writes only to its stack.
#
#   as --64 -o x86_64.o x86_64.s && objcopy -O binary -j .text x86_64.o x86_64.bin

        # EFI_SYSTEM_TABLE and EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL
        .set ConOut, 0x40
        .set BootServices, 0x60
        .set OutputString, 0x08
        # EFI_BOOT_SERVICES
        .set InstallProtocolInterface, 0x80
        .set UninstallProtocolInterface, 0x90
        .set HandleProtocol, 0x98
        .set LoadImage, 0xc8
        .set StartImage, 0xd0
        .set Stall, 0xf8
        # EFI_LOADED_IMAGE_PROTOCOL
        .set DeviceHandle, 0x18
        .set LoadOptionsSize, 0x30
        .set LoadOptions, 0x38

        # Our stack frame, above the shadow space and two stack arguments
        .set load_file2, 0x30           # EFI_LOAD_FILE2_PROTOCOL: one pointer
        .set kernel_handle, 0x38
        .set loaded_image, 0x40
        .set initrd_handle, 0x48
        .set text, 0x50                 # 21 UTF-16 units
        .set frame, 0x80

        .text
start:
        pushq   %rbx                    # our handle
        pushq   %rbp                    # boot services
        pushq   %rsi                    # where the image is
        pushq   %rdi                    # our LoadedImage
        pushq   %r12                    # system table
        pushq   %r13                    # the step
        pushq   %r14                    # interfaces installed
        subq    $frame, %rsp
        cld
        movq    %rcx, %rbx
        movq    %rdx, %r12
        movq    BootServices(%rdx), %rbp
        leaq    start(%rip), %rsi
        subq    $0x1000, %rsi
        xorl    %r14d, %r14d

        movl    $'1', %r13d
        movq    %rbx, %rcx
        leaq    loaded_image_guid(%rip), %rdx
        leaq    loaded_image(%rsp), %r8
        callq   *HandleProtocol(%rbp)
        testq   %rax, %rax
        jnz     failed
        movq    loaded_image(%rsp), %rdi

        incl    %r13d
        cmpl    $0, initrd_size(%rip)
        je      load
        movq    $0, initrd_handle(%rsp)
        leaq    initrd_handle(%rsp), %rcx
        leaq    device_path_guid(%rip), %rdx
        xorl    %r8d, %r8d
        leaq    initrd_path(%rip), %r9
        callq   *InstallProtocolInterface(%rbp)
        testq   %rax, %rax
        jnz     failed
        incl    %r14d
        leaq    load_initrd(%rip), %rax
        movq    %rax, load_file2(%rsp)
        leaq    initrd_handle(%rsp), %rcx
        leaq    load_file2_guid(%rip), %rdx
        xorl    %r8d, %r8d
        leaq    load_file2(%rsp), %r9
        callq   *InstallProtocolInterface(%rbp)
        testq   %rax, %rax
        jnz     failed
        incl    %r14d

load:
        incl    %r13d
        movl    kernel_size(%rip), %eax
        movq    %rax, 0x20(%rsp)
        leaq    kernel_handle(%rsp), %rax
        movq    %rax, 0x28(%rsp)
        xorl    %ecx, %ecx
        movq    %rbx, %rdx
        leaq    kernel_path(%rip), %r8
        movl    kernel(%rip), %r9d
        addq    %rsi, %r9
        callq   *LoadImage(%rbp)
        testq   %rax, %rax
        jnz     failed

        incl    %r13d
        movq    kernel_handle(%rsp), %rcx
        leaq    loaded_image_guid(%rip), %rdx
        leaq    loaded_image(%rsp), %r8
        callq   *HandleProtocol(%rbp)
        testq   %rax, %rax
        jnz     failed
        movq    loaded_image(%rsp), %rdx
        movl    cmdline_size(%rip), %eax
        movl    %eax, LoadOptionsSize(%rdx)
        movl    cmdline(%rip), %eax
        addq    %rsi, %rax
        movq    %rax, LoadOptions(%rdx)
        movq    DeviceHandle(%rdi), %rax
        movq    %rax, DeviceHandle(%rdx)

        incl    %r13d
        movq    kernel_handle(%rsp), %rcx
        xorl    %edx, %edx
        xorl    %r8d, %r8d
        callq   *StartImage(%rbp)

# rax is the status. What was installed points into this image and this stack frame: take it back first.
failed:
        movq    %rax, %rdi
        cmpl    $2, %r14d
        jb      1f
        movq    initrd_handle(%rsp), %rcx
        leaq    load_file2_guid(%rip), %rdx
        leaq    load_file2(%rsp), %r8
        callq   *UninstallProtocolInterface(%rbp)
1:      testl   %r14d, %r14d
        jz      2f
        movq    initrd_handle(%rsp), %rcx
        leaq    device_path_guid(%rip), %rdx
        leaq    initrd_path(%rip), %r8
        callq   *UninstallProtocolInterface(%rbp)

2:      movq    ConOut(%r12), %rsi
        testq   %rsi, %rsi
        jz      5f
        movq    %rsi, %rcx
        leaq    message(%rip), %rdx
        callq   *OutputString(%rsi)
        movw    %r13w, text(%rsp)       # "5 800000000000000e\r\n"
        movw    $' ', text+2(%rsp)
        movq    %rdi, %rax
        leaq    text+4(%rsp), %rdx
        movl    $16, %ecx
3:      rolq    $4, %rax
        movl    %eax, %r8d
        andl    $15, %r8d
        addl    $'0', %r8d
        cmpl    $'9', %r8d
        jbe     4f
        addl    $'a'-'9'-1, %r8d
4:      movw    %r8w, (%rdx)
        addq    $2, %rdx
        decl    %ecx
        jnz     3b
        movl    $0x000a000d, (%rdx)
        movw    $0, 4(%rdx)
        movq    %rsi, %rcx
        leaq    text(%rsp), %rdx
        callq   *OutputString(%rsi)
        movl    $10000000, %ecx         # microseconds
        callq   *Stall(%rbp)

5:      movq    %rdi, %rax
        addq    $frame, %rsp
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        retq

# EFI_LOAD_FILE2_PROTOCOL.LoadFile(This, FilePath, BootPolicy, *BufferSize, Buffer): the kernel asks for the size
# first, then for the bytes.
load_initrd:
        movabsq $0x8000000000000003, %rax       # EFI_UNSUPPORTED: it is no boot option
        testb   %r8b, %r8b
        jnz     1f
        movq    0x28(%rsp), %r10                # Buffer
        movl    initrd_size(%rip), %ecx
        movq    (%r9), %rdx
        movq    %rcx, (%r9)
        movabsq $0x8000000000000005, %rax       # EFI_BUFFER_TOO_SMALL
        testq   %r10, %r10
        jz      1f
        cmpq    %rcx, %rdx
        jb      1f
        pushq   %rsi
        pushq   %rdi
        movl    initrd(%rip), %eax
        leaq    start(%rip), %rsi
        leaq    -0x1000(%rsi,%rax), %rsi
        movq    %r10, %rdi
        cld
        rep movsb
        popq    %rdi
        popq    %rsi
        xorl    %eax, %eax
1:      retq

        .balign 8, 0
loaded_image_guid:                      # 5b1b31a1-9562-11d2-8e3f-00a0c969723b
        .long   0x5b1b31a1
        .short  0x9562, 0x11d2
        .byte   0x8e, 0x3f, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b
device_path_guid:                       # 09576e91-6d3f-11d2-8e39-00a0c969723b
        .long   0x09576e91
        .short  0x6d3f, 0x11d2
        .byte   0x8e, 0x39, 0x00, 0xa0, 0xc9, 0x69, 0x72, 0x3b
load_file2_guid:                        # 4006c0c1-fcb3-403e-996d-4a6c8724e06d
        .long   0x4006c0c1
        .short  0xfcb3, 0x403e
        .byte   0x99, 0x6d, 0x4a, 0x6c, 0x87, 0x24, 0xe0, 0x6d
initrd_path:                            # media, vendor: 5568e427-68fc-4f3d-ac74-ca555231cc68, by which Linux asks
        .byte   4, 3, 20, 0
        .long   0x5568e427
        .short  0x68fc, 0x4f3d
        .byte   0xac, 0x74, 0xca, 0x55, 0x52, 0x31, 0xcc, 0x68
        .byte   0x7f, 0xff, 4, 0
kernel_path:                            # hardware, memory mapped; the firmware wants a path, nothing reads it
        .byte   1, 3, 24, 0
        .long   4
        .quad   0, 0
        .byte   0x7f, 0xff, 4, 0
message:
        .string16 "lfs-image: boot step "

        .balign 8, 0
# RVA and size in bytes of the other sections, filled in when an image is made.
parameters:
cmdline:        .long   0
cmdline_size:   .long   0
kernel:         .long   0
kernel_size:    .long   0
initrd:         .long   0
initrd_size:    .long   0
