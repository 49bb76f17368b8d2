# The BIOS loader: reads a Linux kernel, its command line and its initial RAM disk from where a list says, and enters
# the kernel by the 16-bit boot protocol.
#
#   0x07c00  first stage: sector 0 of the disk, below the disk signature at 440
#   0x07e00  second stage, two sectors
#   0x08200  the list, six sectors: u64 LBA, u32 sectors, u32 address; ends with an entry of no sectors
#   0x10000  real-mode part of the kernel, its heap and stack (to 0x1e000), the command line
#   0x20000  32 KiB through which everything is read
#   0x100000 the rest of the kernel; above what it unpacks to, the RAM disk
#
# Reads are INT 13h extensions (EDD) only. Chunks are copied above 1 MiB in protected mode, and each read is made in
# real mode again, because the BIOS may change any segment register.
#
# Every address is written as a distance from `start`, so that assembling leaves nothing to link.
#
#   as --32 -o loader.o loader.s && objcopy -O binary -j .text loader.o loader.bin

        .set    base, 0x7c00
        .set    list, 0x8200
        .set    buffer, 0x2000          # segment
        .set    chunk, 64               # sectors
        .set    setup, 0x1000           # segment of the kernel's real-mode part
        .set    stack_end, 0xe000       # in that segment
        .set    com1, 0x3f8

        .text
        .code16
start:
        jmp     1f
        nop
        .org    0x5a, 0                 # a BIOS parameter block, which some firmwares write to
1:      cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $base, %sp
        ljmpw   $0, $2f - start + base  # some enter at 07c0:0000
2:      sti
        cld
        testb   $0x80, %dl              # some forget the drive number
        jnz     3f
        movb    $0x80, %dl
3:      movb    %dl, drive - start + base
        movw    $hello - start + base, %si
        call    print
        movb    $0x41, %ah              # extensions present?
        movw    $0x55aa, %bx
        movb    drive - start + base, %dl
        int     $0x13
        jc      no_edd
        cmpw    $0xaa55, %bx
        jne     no_edd
        movw    $packet - start + base, %si
        call    read
        jmp     stage2

no_edd:
        movw    $no_edd_text - start + base, %si
        jmp     stop

# Reads what the packet at SI says, in three attempts. A BIOS that fails changes the packet's count.
read:
        movw    $3, %cx
        movw    2(%si), %bp
1:      movw    %bp, 2(%si)
        pushaw
        movb    $0x42, %ah
        movb    drive - start + base, %dl
        int     $0x13
        movb    %ah, status - start + base
        popaw
        jc      2f
        ret
2:      pushaw
        xorw    %ax, %ax                # reset
        movb    drive - start + base, %dl
        int     $0x13
        popaw
        loop    1b
        movb    status - start + base, %al
        movw    $status_text - start + base, %di
        call    hex
        movw    $disk_text - start + base, %si
stop:
        call    print
1:      hlt
        jmp     1b

# Writes AL as two digits to DI.
hex:
        movb    %al, %ah
        shrb    $4, %al
        call    1f
        movb    %ah, %al
        andb    $15, %al
1:      cmpb    $10, %al                # 0..15 to a digit
        sbbb    $0x69, %al
        das
        stosb
        ret

# Prints the text at SI on the screen and on the first serial port.
print:
        lodsb
        testb   %al, %al
        jz      2f
        pushw   %ax
        movb    $0x0e, %ah
        movw    $7, %bx
        int     $0x10
        popw    %ax
        movb    %al, %bl
        movw    $com1 + 5, %dx
        xorw    %cx, %cx
1:      inb     %dx, %al
        testb   $0x20, %al
        loopz   1b
        movb    %bl, %al
        movw    $com1, %dx
        outb    %al, %dx
        jmp     print
2:      ret

hello:          .asciz  "lfs-image "
no_edd_text:    .asciz  "needs a BIOS that reads by LBA\r\n"
disk_text:      .ascii  "disk error "
status_text:    .asciz  "00\r\n"
drive:          .byte   0
status:         .byte   0

        .org    0x198, 0
packet:                                 # the second stage and the list
        .byte   16, 0
        .word   8
        .word   0x7e00, 0
first_lba:
        .quad   0                       # filled in when a disk is made: at 0x1a0
        .org    0x1b8, 0                # the disk signature and the partition table
        .org    0x1fe, 0
        .word   0xaa55

# Second stage.
stage2:
        jmp     1f
        .org    0x204, 0
memory:         .long   0               # where what is loaded ends; filled in when a disk is made
1:      call    enough_memory
        call    open_a20
        movw    $list, %di
next:                                   # DI: the entry; what is left of it is counted in place
        movl    8(%di), %ecx
        testl   %ecx, %ecx
        jz      enter
        movl    $chunk, %eax
        cmpl    %eax, %ecx
        jae     1f
        movl    %ecx, %eax
1:      movw    %ax, chunk_sectors - start + base
        movl    (%di), %ebx
        movl    %ebx, chunk_lba - start + base
        movl    4(%di), %ebx
        movl    %ebx, chunk_lba + 4 - start + base
        addl    %eax, (%di)
        adcl    $0, 4(%di)
        subl    %eax, 8(%di)
        pushl   %eax
        pushw   %di
        movw    $chunk_packet - start + base, %si
        call    read
        popw    %di
        popl    %ecx
        shll    $7, %ecx                # 32-bit words
        movl    12(%di), %edx
        call    copy
        movl    %edx, 12(%di)
        cmpl    $0, 8(%di)
        jne     next
        addw    $16, %di
        pushw   %di
        movw    $dot - start + base, %si
        call    print
        popw    %di
        jmp     next

enter:
        movw    $newline - start + base, %si
        call    print
        cli
        movw    $setup, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        movw    $stack_end, %sp
        ljmpw   $setup + 0x20, $0

# Copies ECX words from the buffer to EDX; EDX is behind them then. Segments are flat or zero afterwards.
copy:
        pushw   %di
        cli
        lgdtl   gdt_pointer - start + base
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $1f - start + base
        .code32
1:      movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movl    $buffer << 4, %esi
        movl    %edx, %edi
        rep movsl
        movl    %edi, %edx
        ljmpl   $24, $2f - start + base
        .code16
2:      movw    $32, %ax                # segments with real mode's limit
        movw    %ax, %ds
        movw    %ax, %es
        movl    %cr0, %eax
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmpw   $0, $3f - start + base
3:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        sti
        popw    %di
        ret

# Stops unless memory reaches as far as is loaded. A BIOS that doesn't know its memory is trusted.
enough_memory:
        movw    $0xe801, %ax            # in KiB from 1 MiB, in 64 KiB from 16 MiB, twice
        xorw    %cx, %cx
        xorw    %dx, %dx
        int     $0x15
        jc      3f
        jcxz    1f
        movw    %cx, %ax
        movw    %dx, %bx
1:      movzwl  %bx, %ebx
        testl   %ebx, %ebx
        jz      2f
        addl    $0x100, %ebx            # 16 MiB
        cmpl    $0xffff, %ebx
        ja      3f
        shll    $16, %ebx
        jmp     4f
2:      movzwl  %ax, %ebx
        addl    $0x400, %ebx            # 1 MiB
        shll    $10, %ebx
4:      cmpl    memory - start + base, %ebx
        jae     3f
        movw    $memory_text - start + base, %si
        jmp     stop
3:      ret

# Opens the gate to odd megabytes: by the BIOS, by port 0x92, and by the keyboard controller.
open_a20:
        call    a20_is_open
        jnz     1f
        movw    $0x2401, %ax
        int     $0x15
        call    a20_is_open
        jnz     1f
        inb     $0x92, %al
        orb     $2, %al
        andb    $0xfe, %al              # bit 0 resets the machine
        outb    %al, $0x92
        call    a20_is_open
        jnz     1f
        call    2f
        movb    $0xd1, %al              # write the output port
        outb    %al, $0x64
        call    2f
        movb    $0xdf, %al
        outb    %al, $0x60
        call    2f
        call    a20_is_open
        jnz     1f
        movw    $a20_text - start + base, %si
        jmp     stop
1:      ret
2:      xorw    %cx, %cx                # until the controller takes more
3:      inb     $0x64, %al
        testb   $2, %al
        loopnz  3b
        ret

# Clears ZF if 1 MiB isn't 0 again: changes a word at 0x500 and looks for that at 0x100500.
a20_is_open:
        pushw   %es
        movw    $0xffff, %ax
        movw    %ax, %es
        movw    $0x200, %cx             # a gate may take a while
1:      incw    0x500
        movw    0x500, %ax
        outb    %al, $0x80              # a short wait
        cmpw    %es:0x510, %ax
        loope   1b
        popw    %es
        ret

dot:            .asciz  "."
newline:        .asciz  "\r\n"
memory_text:    .asciz  "needs more memory\r\n"
a20_text:       .asciz  "can't open A20\r\n"

chunk_packet:
        .byte   16, 0
chunk_sectors:
        .word   0
        .word   0, buffer
chunk_lba:
        .quad   0

        .balign 8, 0
gdt:
        .quad   0
        .quad   0x00cf9a000000ffff      # 8: code, 32-bit, flat
        .quad   0x00cf92000000ffff      # 16: data, flat
        .quad   0x00009a000000ffff      # 24: code, 16-bit, 64 KiB
        .quad   0x000092000000ffff      # 32: data, 64 KiB
gdt_pointer:
        .word   gdt_pointer - gdt - 1
        .long   gdt - start + base
        .org    0x600, 0
